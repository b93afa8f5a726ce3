"""An HTTP proxy of the tests: forwards plain requests, and connects tunnels."""
import select
import socket
import socketserver
import threading

REPLY_TO_CONNECT = (b"HTTP/1.1 200 Connection established\r\n"
                    b"Content-Length: 0\r\nContent-Type: text/proxy\r\n\r\n")


def _receive_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(65536)
        if not more:
            return None
        head += more
    return head


def _pump(one, other):
    """Copies both ways until one side has ended."""
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(1 << 20)
            if not data:
                return
            (other if ready is one else one).sendall(data)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            self._serve()
        except OSError:
            pass  # one of the sides went away

    def _serve(self):
        head = _receive_head(self.request)
        if head is None:
            return
        proxy = self.server.proxy
        method, target = head.split(b" ", 2)[:2]
        method, target = method.decode(), target.decode()
        proxy.requests.append(f"{method} {target}")
        if proxy.refuse:
            self.request.sendall(
                b"HTTP/1.1 %d No\r\nContent-Length: 5\r\n"
                b"Connection: close\r\n\r\nsorry" % proxy.refuse)
            return
        if method == "CONNECT":
            host, port = target.rsplit(":", 1)
            with socket.create_connection((host, int(port))) as server:
                self.request.sendall(REPLY_TO_CONNECT)
                _pump(self.request, server)
            return
        # One server a connection is enough: a client has one endpoint. Later
        # requests name the whole URL too, which every server must take
        # (RFC 9112, 3.2.2).
        host, port = target.split("/")[2].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as server:
            prefix = f"http://{host}:{port}".encode()
            server.sendall(head.replace(b" " + prefix, b" ", 1))
            self._forward(server, prefix)

    def _forward(self, server, prefix):
        while True:
            for ready in select.select([self.request, server], [], [])[0]:
                data = ready.recv(1 << 20)
                if not data:
                    return
                if ready is server:
                    self.request.sendall(data)
                    continue
                method, _, rest = data.partition(b" ")
                if rest.startswith(prefix):  # the next request
                    self.server.proxy.requests.append(
                        f"{method.decode()} {rest.split(b' ')[0].decode()}")
                    data = method + b" " + rest[len(prefix):]
                server.sendall(data)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Proxy:
    """Listens while this lives: .url, .requests ("CONNECT host:port", "GET
    http://..."). With `refuse` each request is answered by that status."""

    def __init__(self, refuse=0):
        self.refuse = refuse
        self.requests = []
        self._listener = _Listener(("127.0.0.1", 0), _Connection)
        self._listener.proxy = self
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=self._listener.serve_forever,
                                        daemon=True)
        self._thread.start()

    def close(self):
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()
