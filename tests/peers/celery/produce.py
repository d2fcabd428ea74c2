"""The producer of Celery. A batch is as many calls: Celery publishes one message a call."""

from peer import serve
from tasks import app, note

# Messages that a failed round has left in RabbitMQ belong to no later one.
app.control.purge()
serve(note.delay)
