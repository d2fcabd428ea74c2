#!/usr/bin/env python3
"""Publish operations to Drumline over AMQP, and wait until they are Completed.

Publishes some creates to the exchange, waits until each is answered, and then
asks over HTTP until each is Completed. Exits with 0 when all have Succeeded, and
the operations of each token in the order in which they were published.

The class `Producer` is a start for your own program: publisher confirms, a
message id for each request, answers that are found by their correlation id, and
requests that are published again when no answer comes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any, Iterable

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

JSON = "application/json"


class Failure(Exception):
    """An unexpected result; the text is for the user of this program."""


@dataclass
class Answer:
    """Drumline's answer to one request."""

    status: int
    body: dict[str, Any]


@dataclass
class Request:
    """One request, and its answer once there is one.

    The id is made once, before the first try, and is the same in every try. That
    makes it safe to publish the request again.
    """

    kind: str
    payload: bytes
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: Answer | None = None


class Producer:
    """Publishes requests and collects their answers."""

    def __init__(self, url: str, namespace: str, patience: float) -> None:
        self._parameters = pika.URLParameters(url)
        self._exchange = f"{namespace}.requests"
        self._patience = patience
        self._waiting: dict[str, Request] = {}

    def __enter__(self) -> "Producer":
        self._connection = pika.BlockingConnection(self._parameters)
        self._await_exchange()
        self._channel = self._connection.channel()
        # With confirms, publish returns when the message is on RabbitMQ's disk.
        # Without them, it returns before.
        self._channel.confirm_delivery()
        # Exclusive: this connection alone uses the queue, which ends with it.
        queue = self._channel.queue_declare("", exclusive=True)
        self._answers = queue.method.queue
        self._channel.basic_consume(self._answers, self._on_answer, auto_ack=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(self, requests: Iterable[Request]) -> None:
        """Publishes requests in order and waits until all are answered.

        Requests that are not answered in time are published once more, in the same
        order and with the same ids, so none of them is executed twice.
        """
        requests = list(requests)
        for attempt in ("first", "second"):
            for request in requests:
                if request.answer is None:
                    self._publish(request)
            deadline = time.monotonic() + self._patience
            while self._waiting and time.monotonic() < deadline:
                self._connection.process_data_events(time_limit=0.2)
            if not self._waiting:
                return
            print(f"{len(self._waiting)} unanswered after the {attempt} try", file=sys.stderr)
        raise Failure(f"no answer to {', '.join(self._waiting)}")

    def _publish(self, request: Request) -> None:
        self._waiting[request.id] = request
        properties = pika.BasicProperties(
            content_type=JSON,
            delivery_mode=pika.DeliveryMode.Persistent,
            message_id=request.id,
            correlation_id=request.id,
            reply_to=self._answers,
        )
        # Mandatory: publish raises if there is no queue behind the exchange.
        self._channel.basic_publish(
            self._exchange, request.kind, request.payload, properties, mandatory=True
        )

    def _on_answer(
        self,
        _channel: BlockingChannel,
        _method: pika.spec.Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        # An answer may come twice, when its request was delivered twice.
        request = self._waiting.pop(properties.correlation_id, None)
        if request is not None:
            request.answer = Answer(properties.headers["status"], json.loads(body))

    def _await_exchange(self) -> None:
        """Waits for the exchange, which the first queue manager declares."""
        deadline = time.monotonic() + self._patience
        while True:
            channel = self._connection.channel()
            try:
                channel.exchange_declare(self._exchange, passive=True)
                channel.close()
                return
            except pika.exceptions.ChannelClosedByBroker as closed:
                if time.monotonic() > deadline:
                    raise Failure(f"{closed.reply_text}; is a queue manager running?")
            time.sleep(0.1)


def creates(count: int, tokens: int) -> list[Request]:
    """Makes `count` requests, in turn for each token."""
    correlation = str(uuid.uuid4())
    requests = []
    for number in range(count):
        body = {
            "messageName": "Greet",
            "name": f"greeting {number}",
            # Equal token, strict order.
            "dependencyToken": f"guest-{number % tokens}",
            # The same for operations that belong together.
            "correlationId": correlation,
            "data": {"name": f"guest {number}"},
        }
        requests.append(Request("create", json.dumps(body).encode()))
    return requests


def get(server: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server}{path}", timeout=30) as response:
        return json.load(response)


def wait_for_completion(server: str, ids: list[str], patience: float) -> list[dict[str, Any]]:
    """Asks over HTTP until each is Completed, with any outcome."""
    deadline = time.monotonic() + patience
    operations = []
    for id in ids:
        while True:
            # Answers as soon as it is Completed, or after the wait.
            operation = get(server, f"/v1/operations/{id}?wait=10s")
            if operation["state"] == "Completed":
                operations.append(operation)
                break
            if time.monotonic() > deadline:
                raise Failure(f"{id} is {operation['status']}, not Completed")
    return operations


def check(operations: list[dict[str, Any]]) -> None:
    """Checks that all have Succeeded, those of each token in order."""
    last_end: dict[str, str] = {}
    for operation in operations:
        number = operation["name"].removeprefix("greeting ")
        if operation["status"] != "Succeeded":
            raise Failure(f"{operation['id']}: {operation['status']}, {operation['message']}")
        if operation["result"] != {"greeting": f"hello, guest {number}"}:
            raise Failure(f"{operation['id']}: an unexpected result, {operation['result']}")
        token = operation["dependencyToken"]
        # The times have one format and zone, so they compare as texts.
        if operation["startedOn"] < last_end.get(token, ""):
            raise Failure(f"{operation['id']} started before its predecessor had ended")
        last_end[token] = operation["completedOn"]


def run(options: argparse.Namespace) -> None:
    requests = creates(options.count, options.tokens)
    with Producer(options.amqp_url, options.namespace, options.patience) as producer:
        producer.request(requests)
        ids = []
        for request in requests:
            if request.answer.status not in (200, 201):
                raise Failure(f"{request.id}: {request.answer}")
            ids.append(request.answer.body["id"])
        print(f"{len(ids)} creates are answered")

        # The same message published again creates no second operation.
        again = Request("create", requests[0].payload, id=requests[0].id)
        producer.request([again])
        if (again.answer.status, again.answer.body["id"]) != (200, ids[0]):
            raise Failure(f"the same message id made another operation: {again.answer}")
        print("the same message, published again, is answered with the same operation")

        # Organization requests go the same way, with another routing key.
        body = {"requestName": "Retrieve", "parameters": {"id": ids[-1], "columnSet": ["name"]}}
        retrieve = Request("execute", json.dumps(body).encode())
        producer.request([retrieve])
        if retrieve.answer.status != 200:
            raise Failure(f"Retrieve: {retrieve.answer}")
        print("an organization request is answered:", retrieve.answer.body["results"]["operation"])

        # A wrong request is answered, and kept in the quarantine.
        wrong = Request("create", b'{"messageName": "Greet", "surprise": true}')
        producer.request([wrong])
        if wrong.answer.status != 422:
            raise Failure(f"a wrong request: {wrong.answer}")
        print("a wrong request is refused:", wrong.answer.body["detail"])

    check(wait_for_completion(options.server, ids, options.patience))
    print(f"{len(ids)} operations have Succeeded, in order for each token")


def arguments() -> argparse.Namespace:
    def environment(name: str, default: str) -> str:
        return os.environ.get(name, default)

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--amqp-url",
        default=environment("DRUMLINE_AMQP_URL", "amqp://127.0.0.1:5672"),
        help="URL of RabbitMQ (DRUMLINE_AMQP_URL; %(default)s)",
    )
    parser.add_argument(
        "--server",
        default=environment("DRUMLINE_SERVER", "http://127.0.0.1:8080"),
        help="URL of a queue manager (DRUMLINE_SERVER; %(default)s)",
    )
    parser.add_argument(
        "--namespace",
        default=environment("DRUMLINE_NAMESPACE", "drumline"),
        help="namespace of the installation (DRUMLINE_NAMESPACE; %(default)s)",
    )
    parser.add_argument("--count", type=int, default=20, help="number of operations (%(default)s)")
    parser.add_argument("--tokens", type=int, default=3, help="number of dependency tokens (%(default)s)")
    parser.add_argument(
        "--patience", type=float, default=30, help="seconds to wait for each answer (%(default)s)"
    )
    return parser.parse_args()


def main() -> int:
    try:
        run(arguments())
    except Failure as failure:
        print(f"producer: {failure}", file=sys.stderr)
        return 1
    except (pika.exceptions.AMQPError, urllib.error.URLError) as error:
        print(f"producer: {error!r}", file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())
