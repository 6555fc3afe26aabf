"""A process that says hello on a worker's socket, with one field wrong: python wrong_hello.py FIELD=VALUE"""

import json
import sys

import msgspec
import zmq

start = json.loads(sys.stdin.readline())
hello = {
    "type": "hello",
    "protocol": start["protocol"],
    "generation": start["generation"],
    "token": start["token"],
}
field, value = sys.argv[1].split("=")
hello |= {"pid": 1, field: int(value) if value.isdigit() else value}
socket = zmq.Context().socket(zmq.DEALER)
socket.connect(start["control"])
socket.send(msgspec.msgpack.encode(hello))
sys.stdin.read()
