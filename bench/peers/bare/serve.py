"""The bare fast path: uvloop's Protocol, orjson and ONNX Runtime, and nothing of a product around them.

serve.py MODEL.onnx PORT|SOCKET
"""

import asyncio
import sys

import numpy as np
import onnxruntime
import orjson
import uvloop

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
output = [session.get_outputs()[-1].name]


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        data = self.buffer + data if self.buffer else data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self.buffer = data
            return
        head = data[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(data) < end + 4 + length:
            self.buffer = data
            return
        self.buffer = b""
        rows = np.array(orjson.loads(data[end + 4 :])["dataframe_split"]["data"], dtype=np.float32)
        score = session.run(output, {name: rows})[0][0][-1]
        body = b'{"predictions":[%.9g]}' % score
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )


async def main(where):
    loop = asyncio.get_running_loop()
    if where.isdigit():
        server = await loop.create_server(Server, "127.0.0.1", int(where))
    else:
        server = await loop.create_unix_server(Server, where)
    await server.serve_forever()


uvloop.run(main(sys.argv[2]))
