"""Judges documents of a release by their authors' own schemas: schemas.py SBOM PROVENANCE BUNDLE."""

import base64
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from sigstore_protobuf_specs.dev.sigstore.bundle.v1 import Bundle

sbom, provenance, bundle = (Path(path).read_bytes() for path in sys.argv[1:4])
passed = 0


def check(what, problem):
    global passed
    if problem:
        sys.exit(f"FAILED {what}: {str(problem)[:1000]}")
    passed += 1
    print(f"ok {what}")


# Strict: unknown fields are errors too.
check("CycloneDX 1.6 schema", JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.decode()))

statement = json_format.Parse(provenance, statement_pb2.Statement())
Statement.copy_from_pb(statement).validate()
check("in-toto statement v1", None)
predicate = json_format.ParseDict(json_format.MessageToDict(statement.predicate), provenance_pb2.Provenance())
definition = predicate.build_definition
check(
    "SLSA provenance v1",
    None
    if definition.build_type and definition.external_parameters and predicate.run_details.builder.id
    else "a required field is missing",
)

parsed = Bundle().from_json(bundle.decode())
envelope = parsed.dsse_envelope
check("Sigstore bundle holds the provenance", None if envelope.payload == provenance else "its payload is another one")
kind = envelope.payload_type.encode()
message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(provenance), provenance)
Path(sys.argv[3] + ".message").write_bytes(message)
Path(sys.argv[3] + ".signature").write_bytes(envelope.signatures[0].sig)
print(f"{passed} passed, 0 failed")
