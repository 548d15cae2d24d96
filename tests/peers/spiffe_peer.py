"""What PyPI's `spiffe` gets from a Workload API, as a service that this interpreter is.

    spiffe_peer.py SOCKET SPIFFE_ID OWN_PEM

OWN_PEM is the trust domain's bundle as another program got it. Ends with 0 if everything holds.
"""

import base64
import json
import logging
import sys
import threading
import time

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificates
from spiffe import JwtSource, JwtSvid, SpiffeId, WorkloadApiClient, X509Source
from spiffe.svid.errors import JwtSvidError
from spiffe.workloadapi.errors import ValidateJwtSvidError

AUDIENCE = "https://partner.example"
# Two renewals of a credential of 20 seconds.
ROTATIONS = 2
ROTATION_SECONDS_MAX = 20


class Complaints(logging.Handler):
    """Collects what the library says from WARNING on: it retries on its own, and says so here."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what} is `{found}`, not `{wanted}`")


def main(socket, spiffe_id, own_pem):
    complaints = Complaints()
    logging.getLogger("spiffe").addHandler(complaints)
    own = SpiffeId(spiffe_id)
    with open(own_pem, "rb") as file:
        authorities = set(load_pem_x509_certificates(file.read()))
    with WorkloadApiClient(socket) as client:
        x509(client, own, authorities)
        jwt(client, own)
    jwt_source(socket, own)
    rotation(socket, own)
    expect("what the library complains of", complaints.lines, [])


def x509(client, own, authorities):
    context = client.fetch_x509_context()
    expect("the SVIDs", [svid.spiffe_id for svid in context.x509_svids], [own])
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(own.trust_domain)
    expect("the authorities", bundle.x509_authorities, authorities)
    check_svid(context.default_svid, bundle)
    bundles = client.fetch_x509_bundles()
    expect("the bundle by itself", bundles.get_bundle_for_trust_domain(own.trust_domain), bundle)


def check_svid(svid, bundle):
    expect("the key", public(svid.private_key.public_key()), public(svid.leaf.public_key()))
    issuers = [one for one in bundle.x509_authorities if one.subject == svid.cert_chain[-1].issuer]
    expect("the number of issuers", len(issuers), 1)
    svid.cert_chain[-1].verify_directly_issued_by(issuers[0])


def public(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def jwt(client, own):
    svid = client.fetch_jwt_svid({AUDIENCE})
    expect("the subject", svid.spiffe_id, own)
    expect("the audience", svid.audience, {AUDIENCE})
    if not time.time() < svid.expiry <= time.time() + 300:
        sys.exit(f"it expires at {svid.expiry}, now is {time.time()}")
    expect("the SVIDs", [one.spiffe_id for one in client.fetch_jwt_svids({AUDIENCE})], [own])
    asked = client.fetch_jwt_svid({AUDIENCE}, subject=own)
    expect("the subject asked for", asked.spiffe_id, own)

    bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(own.trust_domain)
    check_jwt(svid.token, bundle, own)

    # The server of the Workload API validates it too, and refuses what it must.
    valid = client.validate_jwt_svid(svid.token, AUDIENCE)
    expect("the subject by ValidateJWTSVID", valid.spiffe_id, own)
    refused("another audience", lambda: client.validate_jwt_svid(svid.token, "https://other.example"))
    refused("a forgery", lambda: client.validate_jwt_svid(forged(svid.token), AUDIENCE))


def check_jwt(token, bundle, own):
    valid = JwtSvid.parse_and_validate(token, bundle, {AUDIENCE})
    expect("the subject as validated", valid.spiffe_id, own)
    others = {"https://other.example"}
    refused("another audience", lambda: JwtSvid.parse_and_validate(token, bundle, others))
    refused("a forgery", lambda: JwtSvid.parse_and_validate(forged(token), bundle, {AUDIENCE}))


def forged(token):
    """The same header and signature around claims that say another subject."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims["sub"] += "-of-another"
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{payload}.{signature}"


def refused(what, call):
    try:
        call()
    except (JwtSvidError, ValidateJwtSvidError) as error:
        print(f"{what}: {type(error).__name__}: {error}")
        return
    sys.exit(f"{what} is accepted")


def jwt_source(socket, own):
    with JwtSource(socket_path=socket, timeout_in_seconds=10) as source:
        bundle = source.get_bundle_for_trust_domain(own.trust_domain)
        check_jwt(source.fetch_svid({AUDIENCE}).token, bundle, own)


def rotation(socket, own):
    updated = threading.Event()
    with X509Source(socket_path=socket, timeout_in_seconds=10) as source:
        source.subscribe_for_updates(updated.set)
        before = source.get_x509_context().default_svid
        for _ in range(ROTATIONS):
            before = next_svid(source, updated, before, own)


def next_svid(source, updated, before, own):
    """Waits for a new SVID. At no moment on the way does the source hold one that has ended."""
    deadline = time.monotonic() + ROTATION_SECONDS_MAX
    while time.monotonic() < deadline:
        updated.wait(0.2)
        updated.clear()
        context = source.get_x509_context()
        svid = context.default_svid
        if svid.leaf.not_valid_after_utc.timestamp() <= time.time():
            sys.exit(f"the source holds an SVID that ended at {svid.leaf.not_valid_after_utc}")
        if svid.leaf.serial_number == before.leaf.serial_number:
            continue
        left = before.leaf.not_valid_after_utc.timestamp() - time.time()
        print(f"renewed {left:.1f} s before its end: serial {svid.leaf.serial_number:x}")
        expect("the SPIFFE ID after renewal", svid.spiffe_id, own)
        if public(svid.leaf.public_key()) == public(before.leaf.public_key()):
            sys.exit("the renewed SVID has the old key")
        check_svid(svid, context.x509_bundle_set.get_bundle_for_trust_domain(own.trust_domain))
        return svid
    sys.exit(f"no new SVID within {ROTATION_SECONDS_MAX} s")


main(*sys.argv[1:])
