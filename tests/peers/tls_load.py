"""Requests without pause, each on a connection of its own, and how many certificates were met.

    tls_load.py URL CERTIFICATES [FOLDER SPIFFE_ID]

Goes on until the server has met as many certificates: it says the serial in the header `x-serial`,
or as the first word of its answer. For an https URL, FOLDER is what `aims svid watch` keeps: its
certificate is shown, and the server must be SPIFFE_ID by its bundle, with as many certificates too.
Ends with 0 if no request failed, and after 35 seconds in any case.
"""

import http.client
import os
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

SECONDS_MAX = 35
THREADS = 4


def context(folder):
    # One version of the files, whatever happens meanwhile.
    version = os.path.join(folder, os.readlink(os.path.join(folder, "..data")))
    made = ssl.create_default_context(cafile=os.path.join(version, "bundle.pem"))
    # An X.509-SVID has no DNS name; who it is, is its URI.
    made.check_hostname = False
    made.load_cert_chain(os.path.join(version, "svid.pem"), os.path.join(version, "key.pem"))
    return made


class Load:
    def __init__(self, url, serials, folder=None, spiffe_id=None):
        self.url, self.wanted, self.folder = urlsplit(url), int(serials), folder
        self.names = (("URI", spiffe_id),)
        self.lock, self.end = threading.Lock(), time.monotonic() + SECONDS_MAX
        self.requests, self.failures, self.met, self.shown = 0, [], set(), set()

    def is_done(self):
        enough = len(self.met) >= self.wanted and (not self.folder or len(self.shown) >= self.wanted)
        return enough or self.failures or time.monotonic() > self.end

    def ask(self):
        if not self.folder:
            connection = http.client.HTTPConnection(self.url.netloc, timeout=5)
            connection.request("GET", "/", headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.getheader("x-serial", answer.reason), None
        connection = http.client.HTTPSConnection(
            self.url.netloc, timeout=5, context=context(self.folder)
        )
        connection.connect()
        server = connection.sock.getpeercert()
        if server["subjectAltName"] != self.names:
            raise ValueError(f"the server is {server['subjectAltName']}")
        connection.request("GET", "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().split()[0], server["serialNumber"]

    def run(self):
        while not self.is_done():
            try:
                status, word, met = self.ask()
                failure = None if status == 200 else f"{status} {word}"
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            with self.lock:
                self.requests += 1
                if failure:
                    self.failures.append(failure)
                    continue
                self.shown.add(word)
                self.met.add(met or word)

    def main(self):
        threads = [threading.Thread(target=self.run) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{self.requests} requests, {len(self.met)} certificates, {len(self.failures)} failures")
        if self.failures:
            sys.exit(f"a request failed: {self.failures[0]}")
        if len(self.met) < self.wanted or (self.folder and len(self.shown) < self.wanted):
            sys.exit(f"only {len(self.met)} certificates met, and {len(self.shown)} shown")


Load(*sys.argv[1:]).main()
