#!/usr/bin/env python3
"""Judges what grpcurl printed (standard input).

answer.py expect EXPRESSION     the answer as `r`; nested fields as attributes
answer.py get EXPRESSION        the same, printed
answer.py refusal CODE REASON [FIELD]
                                a status as -format-error prints it; FIELD `-` or none: no field is named,
                                REASON `-`: no details (the answer of the transport)
answer.py first EXPRESSION      a stream of answers as the list `r`: reads until the expression holds
                                (what it names may be missing before), prints what it has read
"""

import json
import sys

CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED "
    "RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS "
    "UNAUTHENTICATED"
).split()


class Answer(dict):
    """A JSON object whose fields are attributes, also one that is called like a method of dict: update, items."""

    def __getattribute__(self, name):
        return self[name] if name in self else super().__getattribute__(name)


def parse(text):
    return json.loads(text, object_hook=Answer)


def die(*lines):
    sys.exit("\n".join(lines))


def flat(messages):
    """Messages, and the items that a message of SubscribeUpdates holds, one by one."""
    for message in messages:
        yield from message.get("deliveries") or [message]


def evaluate(expression, r):
    # Our own scripts speak.
    return eval(expression, {"r": r, "flat": lambda messages: list(flat(messages))})


def judge(expression, r):
    try:
        held = evaluate(expression, r)
    except Exception as error:
        held = f"{type(error).__name__}: {error}"
    if held is not True:
        die(f"expected: {expression}", f"got:      {held}", f"answer:   {json.dumps(r, indent=2)}")


def details(status, name):
    return [detail for detail in status.get("details", []) if detail["@type"].endswith(name)]


def refusal(code, reason, field="-"):
    text = sys.stdin.read()
    try:
        status = parse(text)
    except ValueError:
        die(f"expected: the status {code} ({reason})", f"got:      {text}")
    got_code = CODES[status.code]
    infos = details(status, "/google.rpc.ErrorInfo")
    got_reason = infos[0].reason if infos else "-"
    requests = details(status, "/google.rpc.BadRequest")
    got_field = ",".join(v.field for request in requests for v in request.fieldViolations) or "-"
    expected, got = (code, reason, field), (got_code, got_reason, got_field)
    if expected != got:
        die(f"expected: code, reason, field = {expected}", f"got:      {got}", f"status:   {text}")
    if infos and (len(infos) != 1 or infos[0].domain != "starling"):
        die("expected: one ErrorInfo of the domain starling", f"status:   {text}")
    if not status.message:
        die("expected: a message for a human", f"status:   {text}")
    if code == "UNAVAILABLE" and not details(status, "/google.rpc.RetryInfo"):
        die("expected: a RetryInfo", f"status:   {text}")


def first(expression):
    decoder = json.JSONDecoder(object_hook=Answer)
    text, read = "", []
    for line in sys.stdin:
        text += line
        try:
            item, end = decoder.raw_decode(text)
        except ValueError:
            continue  # half an object
        text = text[end:].lstrip()
        read.append(item)
        try:
            if evaluate(expression, read) is True:
                print(json.dumps(read))
                return
        except (AttributeError, LookupError):
            pass
    die(f"expected: {expression}", "got:      the end of the stream", f"messages: {json.dumps(read, indent=2)}", text)


def main(mode, *arguments):
    match mode:
        case "refusal":
            refusal(*arguments)
        case "first":
            first(*arguments)
        case "get":
            print(*evaluate(f"({arguments[0]},)", parse(sys.stdin.read())))
        case "expect":
            judge(arguments[0], parse(sys.stdin.read()))


main(*sys.argv[1:])
