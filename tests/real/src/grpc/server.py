"""Acts on unary calls and writes them down as src/app.rs does. Ends when standard input does."""

import os
import random
import sys
import time
from concurrent import futures

import grpc

address, ledger, age = sys.argv[1], sys.argv[2], int(sys.argv[3])
ledger = os.open(ledger, os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def word(number):
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big")


def act(request, context):
    metadata = dict(context.invocation_metadata())
    number, length = int(metadata["x-id"]), int(metadata["x-length"]) - 5
    expected = (word(number) * (length // 8 + 1))[:length]
    os.write(ledger, b"%d %d %d\n" % (number, int(metadata["x-send"]), request == expected))
    time.sleep(random.uniform(0.001, 0.008))
    return str(number).encode()


class App(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(act)


options = [("grpc.max_connection_age_ms", age), ("grpc.so_reuseport", 0)]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=options)
server.add_generic_rpc_handlers((App(),))
server.add_insecure_port(address)
server.start()
sys.stdin.read()
server.stop(5).wait()
