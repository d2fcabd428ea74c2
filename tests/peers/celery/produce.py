"""The producer of Celery. A batch is as many calls: Celery publishes one message a call."""

from peer import serve
from tasks import app, note

# What a round that failed has left in RabbitMQ belongs to no later one.
app.control.purge()
serve(note.delay)
