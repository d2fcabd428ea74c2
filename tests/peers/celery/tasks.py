"""The task of Celery, as its workers import it."""

import os

from celery import Celery
from celery.signals import worker_ready

from peer import run, tell

app = Celery("tasks", broker=os.environ["PEERS_AMQP_URL"], backend=os.environ["PEERS_REDIS_URL"])
app.conf.update(
    # Nothing accepted is lost, as with the others: durable quorum queues, confirmed
    # publishes, and acknowledgements after the run.
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    worker_hijack_root_logger=False,
)


@app.task
def note(task):
    run(task)


@worker_ready.connect
def ready(**_):
    tell({"ready": True})
