#!/usr/bin/env python3
"""A wire between clients and a server, which is cut on command.

wire.py HOST:PORT [COMMAND...]   carries what comes on a port of its own to HOST:PORT and back

Prints the address that it listens on, and a line for each cut; goes on accepting after it. Commands, one after the
other, first those of the command line, then the lines of standard input:

cut              every connection is reset, on both sides; what is under way is lost
close            every connection is closed in order, but in the middle of whatever is said
cut after N      the same, when N more bytes have come from the server: the next one is left out
close after N
"""

import asyncio
import collections
import socket
import struct
import sys
import threading

AT_ONCE = struct.pack("ii", 1, 0)  # to linger for no time is to reset


def parse(line):
    """(reset?, bytes)"""
    match line.split():
        case [("cut" | "close") as how]:
            return how == "cut", 0
        case [("cut" | "close") as how, "after", count] if count.isdigit():
            return how == "cut", int(count)
    raise ValueError(f"no such command: {line}")


class Wire:
    def __init__(self, host, port, commands):
        self.to = host, port
        self.writers = set()
        self.carried = 0  # from the server
        self.since = 0  # the last cut
        self.commands = collections.deque(commands)

    def command(self, command):
        self.commands.append(command)
        self.obey()

    def obey(self):
        while self.commands and self.since >= self.commands[0][1]:
            self.cut(self.commands.popleft()[0])

    def cut(self, reset):
        how, connections = "cut" if reset else "close", len(self.writers) // 2
        print(f"{how} {connections} connections after {self.carried} bytes", flush=True)
        self.since = 0
        for writer in self.writers:
            if reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                writer.transport.abort()
            else:
                writer.close()
        self.writers.clear()

    async def accepted(self, reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.to)
        except OSError:
            writer.close()
            return
        ends = {writer, server_writer}
        self.writers |= ends
        await asyncio.gather(
            self.carry(reader, server_writer, ends, False), self.carry(server_reader, writer, ends, True))

    async def carry(self, reader, writer, ends, counted):
        try:
            while data := await reader.read(1 << 16):
                if not ends <= self.writers:
                    return
                if counted:
                    if self.commands:
                        data = data[: self.commands[0][1] - self.since]
                    self.carried += len(data)
                    self.since += len(data)
                writer.write(data)
                if counted:
                    self.obey()
                await writer.drain()
        except OSError:
            pass
        finally:
            # Where one direction ends, so does the other.
            self.writers -= ends
            for end in ends:
                end.close()


async def main(address, *commands):
    host, port = address.rsplit(":", 1)
    wire = Wire(host, int(port), [parse(command) for command in commands])
    server = await asyncio.start_server(wire.accepted, "127.0.0.1", 0)
    print("{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    loop = asyncio.get_running_loop()

    def listen():
        for line in sys.stdin:
            loop.call_soon_threadsafe(wire.command, parse(line))

    threading.Thread(target=listen, daemon=True).start()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
