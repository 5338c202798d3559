# SPDX-License-Identifier: Apache-2.0
"""nginx before a hub: it has the LFS objects itself, with ranges, and hands everything else on; with TLS if wanted.

A certificate authority is made for the occasion; nobody but these tests trusts it."""
import contextlib
import os
import shutil
import socket
import subprocess
import time

CONFIG = """
daemon off; pid %(dir)s/nginx.pid; error_log %(dir)s/error.log; worker_processes 2; %(user)s
events { worker_connections 256; }
http {
    access_log %(dir)s/access.log; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path %(dir)s/body; proxy_temp_path %(dir)s/proxy; fastcgi_temp_path %(dir)s/fastcgi;
    uwsgi_temp_path %(dir)s/uwsgi; scgi_temp_path %(dir)s/scgi;
    server {
        listen %(address)s:%(port)d%(ssl)s; %(certificate)s
        location ~ "^/(.+)/lfs/objects/([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{60})$" {
            alias %(root)s/$1.git/lfs/objects/$2/$3/$2$3$4; limit_rate %(rate)s;
        }
        location / { proxy_pass %(backend)s; proxy_request_buffering off; client_max_body_size 0; }
    }
}
"""


def find_nginx():
    return shutil.which('nginx', path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')


def openssl(*args):
    subprocess.run(['openssl', *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def make_certificate(directory, names):
    """ca.pem, and cert.pem with key.pem that it has signed."""
    ca, key, request, cert, ext = (os.path.join(directory, name)
                                   for name in ('ca.pem', 'key.pem', 'request.pem', 'cert.pem', 'ext'))
    new_key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes')
    openssl('req', '-x509', *new_key, '-keyout', ca + '.key', '-out', ca, '-days', '2', '-subj', '/CN=modeldisk tests')
    openssl('req', *new_key, '-keyout', key, '-out', request, '-subj', '/CN=localhost')
    with open(ext, 'w', encoding='ascii') as out:
        out.write(f'subjectAltName={names}\n')
    openssl('x509', '-req', '-in', request, '-CA', ca, '-CAkey', ca + '.key', '-CAcreateserial', '-days', '2',
            '-extfile', ext, '-out', cert)
    return ca


def free_port(address):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def await_port(address, port, process):
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError('nginx does not listen')
        time.sleep(0.02)


@contextlib.contextmanager
def nginx(directory, root, backend, tls=False, names='DNS:localhost', rate=0):
    """Gives its URL. directory is for its own files; names are whom the certificate is for, rate is bytes a second."""
    address = '127.0.0.1'
    os.makedirs(directory, exist_ok=True)
    port = free_port(address)
    if tls:
        make_certificate(directory, names)
    config = os.path.join(directory, 'nginx.conf')
    with open(config, 'w', encoding='ascii') as out:
        out.write(CONFIG % {
            'dir': directory, 'root': os.path.abspath(root), 'backend': backend, 'port': port, 'address': address, 'rate': rate,
            'user': 'user root;' if os.geteuid() == 0 else '', 'ssl': ' ssl' if tls else '',
            'certificate': f'ssl_certificate {directory}/cert.pem; ssl_certificate_key {directory}/key.pem;' if tls else ''})
    process = subprocess.Popen([find_nginx(), '-c', config, '-p', directory], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        await_port(address, port, process)
        yield f'http{"s" if tls else ""}://{"localhost" if tls else address}:{port}'
    finally:
        process.terminate()
        process.wait()
