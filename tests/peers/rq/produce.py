"""The producer of RQ."""

import os

from redis import Redis
from rq import Queue

from peer import serve
from tasks import note

queue = Queue("tasks", connection=Redis.from_url(os.environ["PEERS_REDIS_URL"]))

serve(
    lambda task: queue.enqueue(note, task),
    lambda tasks: queue.enqueue_many([Queue.prepare_data(note, (task,)) for task in tasks]),
)
