#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model hub on loopback: Git smart HTTP (through git's own http-backend) and Git LFS (batch API, basic transfers).

    model_server.py ROOT [--port N] [--ready-file FILE] [--token TOKEN] [--redirect URL]

ROOT/NAME.git are bare repositories, their LFS objects lie in ROOT/NAME.git/lfs/objects/aa/bb/OID as git-lfs keeps them.
With --token every request needs it as password; with --redirect Git requests are sent on to the same path below URL.
The URL (http://127.0.0.1:PORT) is written to the ready file, or printed, when the server listens. Ends on SIGTERM.
"""
import argparse
import base64
import http.server
import json
import os
import re
import subprocess
import sys
import urllib.parse

LFS_JSON = "application/vnd.git-lfs+json"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "model-server"

    def log_message(self, fmt, *args):
        if self.server.log:
            print("%s %s" % (self.command, fmt % args), file=self.server.log, flush=True)

    # ------------------------------------------------------------------ replies

    def reply(self, status, body=b"", content_type="text/plain", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if size == 0:
                    return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    # ------------------------------------------------------------------ routes

    def is_allowed(self):
        if not self.server.token:
            return True
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return scheme == "Basic" and base64.b64decode(value).decode().partition(":")[2] == self.server.token

    def route(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        if not self.is_allowed():
            self.body()
            return self.reply(401, headers=[("WWW-Authenticate", 'Basic realm="hub"')])
        batch = re.fullmatch(r"/(.+?)(?:\.git)?/info/lfs/objects/batch", path)
        if batch and self.command == "POST":
            return self.batch(batch.group(1))
        obj = re.fullmatch(r"/(.+?)/lfs/objects/([0-9a-f]{64})", path)
        if obj and self.command in ("GET", "HEAD"):
            return self.lfs_object(obj.group(1), obj.group(2))
        if self.server.redirect:
            return self.reply(302, headers=[("Location", self.server.redirect + self.path)])
        return self.git(path, url.query)

    do_GET = do_HEAD = do_POST = route

    def repository(self, name):
        path = os.path.join(self.server.root, name + ".git")
        inside = os.path.realpath(path).startswith(os.path.realpath(self.server.root) + os.sep)
        return path if inside and os.path.isdir(path) else None

    def lfs_path(self, name, oid):
        repository = self.repository(name)
        path = repository and os.path.join(repository, "lfs/objects", oid[:2], oid[2:4], oid)
        return path if path and os.path.isfile(path) else None

    def batch(self, name):
        request = json.loads(self.body())
        if not self.repository(name):
            return self.reply(404, json.dumps({"message": "Repository not found"}).encode(), LFS_JSON)
        objects = []
        for wanted in request["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if self.lfs_path(name, wanted["oid"]):
                href = "%s/%s/lfs/objects/%s" % (self.server.url, name, wanted["oid"])
                entry["actions"] = {"download": {"href": href, "expires_in": 3600}}
            else:
                entry["error"] = {"code": 404, "message": "Object does not exist"}
            objects.append(entry)
        answer = {"transfer": "basic", "objects": objects, "hash_algo": "sha256"}
        return self.reply(200, json.dumps(answer).encode(), LFS_JSON)

    def lfs_object(self, name, oid):
        path = self.lfs_path(name, oid)
        if not path:
            return self.reply(404)
        size = os.path.getsize(path)
        start, end = 0, size - 1
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted.group(1))
            end = min(int(wanted.group(2) or end), end)
            if start >= size:
                return self.reply(416, headers=[("Content-Range", "bytes */%d" % size)])
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start + 1 if size else 0))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, end, size))
        self.end_headers()
        if self.command == "HEAD":
            return None
        with open(path, "rb") as source:
            source.seek(start)
            left = end - start + 1 if size else 0
            while left:
                piece = source.read(min(left, 1 << 20))
                self.wfile.write(piece)
                left -= len(piece)
        return None

    def git(self, path, query):
        """One request through git-http-backend(1), a CGI program."""
        env = dict(os.environ, GIT_PROJECT_ROOT=self.server.root, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, REMOTE_ADDR="127.0.0.1",
                   CONTENT_TYPE=self.headers.get("Content-Type", ""), GIT_CONFIG_COUNT="1",
                   GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
        for header, name in (("Content-Encoding", "HTTP_CONTENT_ENCODING"), ("Git-Protocol", "GIT_PROTOCOL")):
            if self.headers.get(header):
                env[name] = self.headers[header]
        body = self.body() if self.command == "POST" else b""
        env["CONTENT_LENGTH"] = str(len(body))
        done = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=env, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name and name != "Content-Type":
                headers.append((name, value))
        content_type = re.search(rb"(?mi)^Content-Type: (.*?)\r?$", head)
        self.reply(status, content, content_type.group(1).decode() if content_type else "text/plain", headers)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root, port=0, log=None, handler=Handler):
        super().__init__(("127.0.0.1", port), handler)
        self.root = os.path.abspath(root)
        self.url = "http://127.0.0.1:%d" % self.server_address[1]
        self.log = log
        self.token = self.redirect = None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file")
    parser.add_argument("--token")
    parser.add_argument("--redirect")
    args = parser.parse_args()
    server = Server(args.root, args.port, sys.stderr if os.environ.get("MODEL_SERVER_LOG") else None)
    server.token, server.redirect = args.token, args.redirect
    if args.ready_file:
        with open(args.ready_file + ".new", "w", encoding="ascii") as ready:
            ready.write(server.url + "\n")
        os.rename(args.ready_file + ".new", args.ready_file)
    else:
        print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
