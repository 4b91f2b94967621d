"""Chat templates against mistral-common: text, ids and whether a request is refused.

    python tests/chat_differential.py ./mistral-ref [-n 600] [--seed 1]
    python tests/chat_differential.py ./mistral-ref --golden golden/chat

The first form makes conversations from a seed, sends them to `mistral-ref chat-template --jsonl`
with the real tokenizers of the mistral-common package, and counts the differences; the exit status
is 1 if there are any. The second writes small tokenizers and golden conversations for them.
Needs: mistral-common, sentencepiece.
"""
import argparse
import base64
import collections
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

import mistral_common
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

warnings.simplefilter("ignore")
DATA = os.path.join(os.path.dirname(mistral_common.__file__), "data")
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
           "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]",
           "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
           "[TOOL_CONTENT]"] + [f"<SPECIAL_{i}>" for i in range(20, 32)] + [
           "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"]

# ---- raw JSON ----------------------------------------------------------------------------------


class Raw(str):
    """Text that goes into the JSON as it is."""


class Pairs(list):
    """An object as a list of pairs, so that keys may be there twice."""


NUMBERS = ["0", "-0", "1", "-1", "7", "42", "1.0", "-0.0", "0.1", "0.5", "1e5", "1E5", "1e16",
           "1e15",
           "123456789012345680.0", "1e-5", "0.0001", "0.00001", "1e22", "1e23", "5e-324", "1E400",
           "-1e400", "1.7976931348623157e308", "2.2250738585072014e-308", "NaN", "Infinity",
           "-Infinity", "123456789012345678901234567890", "-98765432109876543210", "3.14159",
           "100", "1e2", "1.10", "0e0", "0.30000000000000004", "9007199254740993", "1e+3", "4.35"]
BAD = ["{", "[1,]", "{'a': 1}", "{\"a\": 1,}", "nul", "01", "1.", ".5", "+1", "1e", "--1", "-",
       "\"a", "[1 2]", "{\"a\" 1}", "{\"a\": 1} x", "\ufeff{}", "\"\t\"", "\"\\x\"", "True", "// c",
       "[1]]", "nan", "Inf", "\x0b1", "{1: 2}", "\"\\u12g4\"", "hello", "ok, done.", "no json"]
WORDS = ["a", "b", "Hello", "how are you?", "The weather in Paris", "x = 1",
         "def f(x):\n    return x",
         "été", "Ünïcödé", "日本語", "привет", "مرحبا", "😀", "👩‍👩‍👧‍👦", "🇫🇷", "ﬁ", "e\u0301",
         "\u00a0", "\u2028", "\u200b",
         "[INST]", "[/INST]", "</s>", "<s>", "[TOOL_CALLS]", "[SYSTEM_PROMPT]", "<0x0A>", "▁", "\t",
         "\n\n", "\\", "\"", "/", "{}", "12345", "3.14", "\x7f", "\x01", "\x00", "\r\n", "  two",
         "end "]


def text(r):
    if r.random() < 0.06:
        return r.choice(["", " ", "   ", "\n", "\u3000", "\ud83d" if r.random() < 0.3 else "z"])
    if r.random() < 0.12:
        return any_json_text(r)
    out = r.choice(["", "", "", " "]) + r.choice([" ", " ", "", "  "]).join(
        r.choice(WORDS) for _ in range(r.choice([1, 1, 2, 3, 5, 9])))
    return out + r.choice(["", "", "", " ", "   ", "\n", " \n"])


def value(r, depth=0):
    kind = r.random()
    if kind < 0.25 and depth < 4:
        return [value(r, depth + 1) for _ in range(r.choice([0, 1, 2, 3]))]
    if kind < 0.55 and depth < 4:
        pairs = Pairs((r.choice(["a", "b", "x", "é", "", "k" + str(depth), text(r)]),
                       value(r, depth + 1))
                      for _ in range(r.choice([0, 1, 2, 3, 5])))
        return Pairs(pairs + pairs[:1]) if r.random() < 0.1 else pairs
    if kind < 0.8:
        return Raw(r.choice(NUMBERS))
    return r.choice([None, True, False, text(r), text(r), text(r)])


def string(r, s):
    out = ['"']
    for c in s:
        if c in '"\\' or ord(c) < 32:
            short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(c)
            out.append(short if short and r.random() < 0.7 else "\\u%04x" % ord(c))
        elif 0xD800 <= ord(c) < 0xE000 or r.random() < 0.05:
            out.append(json.dumps(c)[1:-1])
        else:
            out.append("\\/" if c == "/" and r.random() < 0.5 else c)
    return "".join(out) + '"'


def write(r, v):
    """JSON text with random blanks and escapes."""
    def blank():
        return r.choice(["", "", "", " ", "  ", "\t"]) if r.random() < 0.4 else ""
    if isinstance(v, Raw):
        return str(v)
    if isinstance(v, str):
        return string(r, v)
    if isinstance(v, (Pairs, dict)):
        items = v.items() if isinstance(v, dict) else v
        return "{" + blank() + ("," + blank()).join(
            string(r, k) + blank() + ":" + blank() + write(r, x) + blank() for k, x in items) + "}"
    if isinstance(v, (list, tuple)):
        return "[" + blank() + ("," + blank()).join(write(r, x) + blank() for x in v) + "]"
    return json.dumps(v)


def any_json_text(r):
    if r.random() < 0.35:
        return r.choice(BAD)
    return r.choice(["", " ", "\n"]) + write(r, value(r)) + r.choice(["", " "])


# ---- conversations -----------------------------------------------------------------------------

NAMES = ["f", "get_weather", "a-b_C9", "x" * 64]
BAD_NAMES = ["", "x" * 65, "a b", "é", "f.g", "f\n\n", 5, None]
BAD_IDS = ["", "null", "short", "abcdefghij", "abc-efghi", "abcdefghé", None, 7, "abcdefghi\n\n"]
PATTERNS = ["^a+$", "[a-z]{2,3}", r"\d+\.\d*", "(?P<n>x)(?P=n)", "(?<=ab)c", "(?i)x", r"[^\s]",
            "a|b|", "",
            "x{2,}", "(?:a)*?", r"\bq\b", "[]a]", "a{,3}", "{", "[a-]", r"(a)\1", "(?#c)x",
            r"\u00e9",
            r"\0\012\101[\1-\11]", r"\x41\U0010ffff", r"(?i:(a))(b)\2"]
BAD_PATTERNS = ["(", ")", "[", "*a", "a**", r"\p{L}", "(?<n>x)", "x{3,2}", "[z-a]", "(?<=a+)b",
                r"\1", "a(?i)",
                "(?P<1>x)", "\\", "(?z)", r"(?P<a>x)(?P<a>y)", "^*", r"[\d-z]", "(?P=q)", "+"]


def new_id(r):
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789") for _ in range(9))


def content(r, role, version):
    if r.random() < 0.82:
        return text(r)
    parts = []
    for _ in range(r.choice([0, 1, 1, 2, 3])):
        part = {"type": "text", "text": text(r)}
        if version >= 13 and role in ("system", "assistant") and r.random() < 0.5:
            part = {"type": "thinking", "thinking": text(r)}
            if r.random() < 0.5:
                part["closed"] = r.choice([True, False])
        parts.append(part)
    return parts


def arguments(r):
    return r.choice([any_json_text(r), any_json_text(r),
                     Pairs([("x", value(r, 1)), ("y", value(r))]),
                     Pairs(), "", None, "{}",
                     write(r, Pairs([("city", text(r)), ("n", Raw(r.choice(NUMBERS)))]))])


def call(r, version):
    name = r.choice(["call_1", "é", "a b"]) if version >= 13 and r.random() < 0.3 else new_id(r)
    out = {"id": name, "function": {"name": r.choice(NAMES), "arguments": arguments(r)}}
    if r.random() < 0.5:
        out["type"] = "function"
    return out


def schema(r, depth=0):
    out = Pairs([("type", r.choice(["object", "string", ["string", "null"], "integer", "number"]))])
    if depth < 3 and r.random() < 0.6:
        out.append(("properties", Pairs((k, schema(r, depth + 1))
                                        for k in r.sample(["a", "b", "é", "$x"],
                                                          r.choice([0, 1, 2])))))
    for key, make in (("default", lambda: value(r, 2)), ("enum", lambda: [value(r, 3)]),
                      ("description", lambda: text(r)),
                      ("required", lambda: ["a", "b"]), ("minimum", lambda: Raw(r.choice(NUMBERS))),
                      ("pattern", lambda: r.choice(PATTERNS)),
                      ("items", lambda: r.choice([True, Pairs(), [Pairs()]])),
                      ("maxLength", lambda: Raw(r.choice(["0", "5", "3.0", "-0"]))),
                      ("x-more", lambda: value(r, 2)),
                      ("dependencies", lambda: Pairs([("a", ["b"]), ("b", True)])),
                      ("additionalProperties",
                       lambda: r.choice([False, Pairs([("type", "string")])])),
                      ("patternProperties", lambda: Pairs([(r.choice(PATTERNS), True)]))):
        if r.random() < 0.12:
            out.append((key, make()))
    return out


def bad_schema(r):
    return Pairs([r.choice([
        ("type", "text"), ("type", []), ("type", ["string", "string"]), ("type", 5),
        ("required", "a"),
        ("required", ["a", "a"]), ("required", [1]), ("properties", []),
        ("properties", Pairs([("a", 3)])),
        ("minLength", -1), ("minLength", 1.5), ("maxItems", True), ("multipleOf", 0),
        ("pattern", r.choice(BAD_PATTERNS)),
        ("patternProperties", Pairs([(r.choice(BAD_PATTERNS), True)])), ("items", []),
        ("items", "x"), ("anyOf", []),
        ("allOf", Pairs()), ("not", 1), ("enum", 1), ("format", 3), ("uniqueItems", "no"),
        ("minimum", "1"),
        ("dependencies", Pairs([("a", [1])])), ("description", None), ("additionalProperties", "x"),
        ("$ref", 1), ("examples", Pairs()),
        ("definitions", Pairs([("q", Pairs([("type", "q")]))]))])])


def tool(r):
    function = Pairs([("name", r.choice(NAMES)),
                      ("parameters", schema(r) if r.random() < 0.9 else Pairs())])
    if r.random() < 0.7:
        function.append(("description", text(r)))
    if r.random() < 0.2:
        function.append(("strict", r.choice([True, False])))
    r.shuffle(function)
    return Pairs([("type", "function"), ("function", function)][r.random() < 0.2:])


def valid(r, version):
    """Messages that mostly obey the rules."""
    out = [{"role": "system", "content": content(r, "system", version)}
           for _ in range(r.choice([0, 0, 1, 1, 2]))]
    for turn in range(r.choice([1, 1, 2, 3])):
        for _ in range(r.choice([1, 1, 1, 2])):
            out.append({"role": "user", "content": content(r, "user", version)})
        if r.random() < 0.08:
            out.append({"role": "system", "content": content(r, "system", version)})
            out.append({"role": "user", "content": content(r, "user", version)})
        if version >= 2 and r.random() < 0.45:
            calls = [call(r, version) for _ in range(1 if version == 2 and r.random() < 0.9
                                                     else r.choice([1, 1, 2, 3]))]
            answer = {"role": "assistant", "tool_calls": calls}
            if version >= 7 and r.random() < 0.4:
                answer["content"] = content(r, "assistant", version)
            out.append(answer)
            results = [{"role": "tool", "content": content(r, "tool", version),
                        "tool_call_id": c["id"]} for c in calls]
            if r.random() < 0.4:
                r.shuffle(results)
            for result in results:
                if r.random() < 0.5:
                    result["name"] = r.choice(NAMES)
                if version == 2 and r.random() < 0.3:
                    del result["tool_call_id"]
            out += results
            if r.random() < 0.15:
                return out
        for _ in range(r.choice([1, 1, 1, 2])):
            out.append({"role": "assistant", "content": content(r, "assistant", version) or "b"})
    if r.random() < 0.3:
        out[-1]["prefix"] = r.choice([True, True, True, 1, "yes", False])
    else:
        out.append({"role": "user", "content": content(r, "user", version)})
    return out


def anything(r, version):
    out = []
    for _ in range(r.choice([0, 1, 1, 2, 2, 3, 4, 6])):
        role = r.choice(["system", "user", "user", "assistant", "assistant", "tool"])
        message = {"role": role, "content": content(r, role, version)}
        if role == "assistant" and r.random() < 0.4:
            message["tool_calls"] = [call(r, version) for _ in range(r.choice([0, 1, 1, 2]))]
            if r.random() < 0.6:
                message.pop("content")
        if role == "tool":
            known = [c["id"] for m in out for c in m.get("tool_calls", [])]
            message["tool_call_id"] = r.choice(known) if known and r.random() < 0.8 else new_id(r)
        out.append(message)
    return out


def spoil_call(r, call):
    """A wrong id, name or argument of a tool call."""
    function = call["function"]
    what = r.randrange(5)
    if what < 2:
        call["id"] = r.choice(BAD_IDS)
    elif what == 2:
        function["name"] = r.choice(BAD_NAMES)
    elif what == 3:
        function["arguments"] = r.choice([
            Raw("[1]"), Raw("5"), True, "1" * 4301, "-" + "1" * 4300, "[" + "7" * 5000 + "]",
            '"\\ud800"'])
    else:
        call[r.choice(["index", "type", "id"])] = r.choice([0, "function", "x", None])


def spoil_result(r, result):
    """A wrong id, name or content of a tool result."""
    what = r.randrange(4)
    if what < 2:
        result["tool_call_id"] = r.choice(BAD_IDS + [new_id(r)])
    elif what == 2:
        result["name"] = r.choice(BAD_NAMES + ["f\n"])
    else:
        result["content"] = r.choice(["1" * 4301, "1" * 4300, any_json_text(r)])


def spoil_tools(r, request):
    """Tools of the wrong shape, with a wrong name or a wrong schema."""
    what = r.randrange(4)
    if what == 0:
        request["tools"] = r.choice([[], None, {}, 1, [1], [{}], [{"function": {"name": "f"}}]])
    elif what == 1:
        name = r.choice(BAD_NAMES + ["f\n"])
        request["tools"] = [{"function": {"name": name, "parameters": {}}}]
    else:
        request["tools"] = [{"function": {"name": "f", "parameters": bad_schema(r)}}]


def spoil_setting(r, request):
    """A setting that does not change the text, right or wrong."""
    if r.random() < 0.4:
        request["continue_final_message"] = r.choice([True, False, None, "yes", "x", 1, 0.0, 2])
    elif r.random() < 0.6:
        key = r.choice(["model", "temperature", "top_p", "max_tokens", "random_seed", "tool_choice",
                        "stream", "parallel_tool_calls", "reasoning_effort",
                        "truncate_for_context_length"])
        request[key] = r.choice([None, "auto", 0.5, 2, True, False, -1, "0.5", 3,
                                 {"function": {"name": "f"}}])
    else:
        named = {"name": "q", "schema": schema(r) if r.random() < 0.5 else bad_schema(r)}
        request["response_format"] = r.choice([
            None, {}, {"type": "text"}, {"type": "json_object"}, {"type": "json_schema"},
            {"type": "json_schema", "json_schema": named}])


def spoil_message(r, messages):
    """A message that is gone, doubled, of another role or with another field."""
    i = r.randrange(len(messages))
    m = messages[i]
    what = r.randrange(8)
    if what == 0:
        del messages[i]
    elif what == 1:
        messages.insert(i, dict(m))
    elif what == 2:
        r.shuffle(messages)
    elif what == 3:
        m["role"] = r.choice(["user", "assistant", "tool", "system", "developer", "", None, 1])
    elif what == 4:
        m["content"] = r.choice([None, "", 5, [], {}, ["x"], [{"type": "text"}], [{"text": "a"}],
                                 " "])
    elif what == 5:
        m.pop("content", None)
    elif what == 6:
        key = r.choice(["name", "weight", "prefix", "extra", "tool_call_id"])
        m[key] = r.choice([None, 1, True, "f", "no"])
    else:
        m["prefix"] = r.choice([True, False, "true", "OFF", 0, 1.0, 2, None, "maybe"])


def spoil(r, request):
    """One thing that may or may not be an error."""
    messages = request["messages"]
    calls = [c for m in messages for c in m.get("tool_calls") or []]
    results = [m for m in messages if m.get("role") == "tool"]
    what = r.random()
    if what < 0.2 and calls:
        spoil_call(r, r.choice(calls))
    elif what < 0.35 and results:
        spoil_result(r, r.choice(results))
    elif what < 0.5:
        spoil_tools(r, request)
    elif what < 0.65:
        spoil_setting(r, request)
    elif messages:
        spoil_message(r, messages)


def request(r, version):
    out = {"messages": anything(r, version) if r.random() < 0.2 else valid(r, version)}
    if r.random() < 0.35:
        out["tools"] = [tool(r) for _ in range(r.choice([0, 1, 1, 2, 3]))]
    if out["messages"] and out["messages"][-1]["role"] == "assistant" and r.random() < 0.5:
        out["continue_final_message"] = True
    for _ in range(r.choice([0, 0, 0, 1, 1, 2])):
        spoil(r, out)
    return write(r, out).replace("\n", " ")


def pointed():
    """Conversations made for one rule each; every version gets them all."""
    def user(content="a"):
        return {"role": "user", "content": content}

    def said(content=None, *ids, **more):
        message = {"role": "assistant", **more}
        if content is not None:
            message["content"] = content
        if ids:
            message["tool_calls"] = [
                {"id": i, "function": {"name": "f", "arguments": '{"x": 1e15, "x": 1e16, "y": -0}'}}
                for i in ids]
        return message

    def result(call_id, content='{"r":[1,1.0,1E5]}', **more):
        return {"role": "tool", "tool_call_id": call_id, "content": content, **more}

    def system(*content):
        parts = [{"type": "text", "text": c} for c in content]
        return {"role": "system", "content": parts if len(parts) != 1 else content[0]}
    one, two, three = "abcdefghi", "123456789", "ABCDEFGHI"
    tools = [{"function": {"name": "f\n", "parameters": {"type": "object", "x": Raw("1e22")}}}]
    lists = [
        [user(), said("b  "), user("c  ")],
        [system("S"), user(), said("b"), system("T"), user("c")],
        [system("S"), user(), system("T"), user("c")],
        [system("", ""), system("T"), user()], [system("T"), system("", ""), user()],
        [system(""), system(" "), user("")], [system("", "x", "", "y"), user()], [system("S")],
        [user(""), user("a"), user(""), user("b")], [said("b"), user()],
        [said("b"), said("c"), user()],
        [user(), said(None, one), result(one), user("c")],
        [user(), said(None, one), result(one), said("b"), user("c"), said(None, two), result(two)],
        [user(), said(None, one, two), result(one), result(two)],
        [user(), said(None, one, two), result(two), result(one)],
        [user(), said(None, one, two), result(one), result(two), user("c")],
        [user(), said(None, one, two), result(one), said("b"), user()],
        [user(), said(None, one, two), result(one)], [user(), said(None, one), result(one),
                                                      result(two)],
        [user(), said(None, one), result(one), result(one)],
        [user(), said(None, one, one), result(one)],
        [user(), said(None, one), said(None, two), result(one), result(two)],
        [said(None, one), result(one), user()], [result(one), user()],
        [result(one), said("b"), user()],
        [user(), said("b", one), result(one)], [user(), said("b"), said(None, one), result(one)],
        [user(), said(None, one + "\n"), result(one + "\n", name="f\n")],
        [user(), said(None, "call"), result("call")], [user(), said(None, "null"), result("null")],
        [user(), said(None, one), {"role": "tool", "content": "no json"}],
        [user(), said(None, one), result(one, ""), user()],
        [user(), said(None, one), result(one, "NaN")],
        [user(), said("b ", prefix=True)], [user(), said(None, one, prefix=True)],
        [user(), said("b", prefix=True), said("c")], [user(), said("b", prefix=True), user()],
        [user(), said("b"), said("c", prefix=True)], [user(), said("   "), user()],
        [user(), said(""), user()],
        [user(), said(""), said("b"), user()], [user(), said("b")], [said("b", prefix=True)],
        [user(), said([{"type": "thinking", "thinking": "t ", "closed": False},
                       {"type": "text", "text": "b "}, {"type": "text", "text": ""}]), said("c "),
         user()],
        [{"role": "system", "content": [{"type": "text", "text": "S"},
                                        {"type": "thinking", "thinking": "t"}]},
         user(), said([{"type": "thinking", "thinking": ""}], one, three), result(three),
         result(one)],
    ]
    r = random.Random(0)
    return [write(r, {"messages": messages, "tools": tools} if i % 3 < 2
                  else {"messages": messages})
            for i, messages in enumerate(lists)]


# ---- tokenizers --------------------------------------------------------------------------------


def special_tokens():
    return [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(SPECIAL)]


def tekken_of(version, source, folder):
    """A Tekken file of a later version: version and special tokens replaced."""
    with open(source, encoding="utf-8") as f:
        data = json.load(f)
    data["config"]["version"] = version
    data["special_tokens"] = special_tokens()
    data.pop("multimodal", None)
    path = os.path.join(folder, f"tekken_{version}.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(data, f)
    return path


def real_tokenizers(folder):
    """Kind, version and path."""
    for version, name in (("v1", "tokenizer.model.v1"),
                          ("v2", "mistral_instruct_tokenizer_240216.model.v2"),
                          ("v3", "mistral_instruct_tokenizer_240323.model.v3"),
                          ("v7", "mistral_instruct_tokenizer_241114.model.v7")):
        yield "spm", version, os.path.join(DATA, name)
    for name in ("tekken_240718.json", "tekken_240911.json"):
        yield "tekken", "v3", os.path.join(DATA, name)
    for version in ("v7", "v11", "v13"):
        yield "tekken", version, tekken_of(version, os.path.join(DATA, name), folder)


def expected(tokenizer, line):
    """What mistral-common says; None when it refuses."""
    try:
        completion = ChatCompletionRequest.model_validate(json.loads(line))
        done = tokenizer.encode_chat_completion(completion)
        return {"text": done.text, "ids": done.tokens}
    except Exception:
        return None


def answers(program, path, lines, *options):
    """What the program says, in the same form."""
    command = [program, "chat-template", path, "--jsonl", *options]
    done = subprocess.run(command, check=True, input="\n".join(lines) + "\n", capture_output=True,
                          encoding="utf-8")
    replies = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(replies) == len(lines), (len(replies), len(lines))
    return [None if "error" in reply else reply for reply in replies]


def compare(program, count, seed):
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, version, path in real_tokenizers(folder):
            name = os.path.basename(path)
            r = random.Random(f"{seed} {kind} {name}")
            tokenizer = MistralTokenizer.from_file(path)
            lines = pointed() + [request(r, int(version[1:])) for _ in range(count)]
            refused = different = 0
            for line, mine in zip(lines, answers(program, path, lines)):
                want = expected(tokenizer, line)
                refused += want is None
                if want != mine:
                    different += 1
                    if different <= 3:
                        print("  request:", line[:1500])
                        print("  expected:", want, "\n  found:   ", mine)
            total += different
            print(f"{kind} {version} ({name}): {len(lines)} conversations, {refused} refused, "
                  f"{different} differences", flush=True)
    print(f"chat: {total} differences")
    return 1 if total else 0


# ---- golden conversations on small tokenizers --------------------------------------------------


def small_sentencepiece(folder):
    """Trained from memory into memory, so that the model names no path."""
    import sentencepiece
    lines = [word.replace("\x00", "").replace("\n", " ") + " the and name arguments content of"
             for word in WORDS * 9]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=480, model_type="bpe",
        byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True,
        control_symbols=[s for s in SPECIAL[3:] if s[0] == "["], hard_vocab_limit=False,
        allow_whitespace_only_pieces=True, minloglevel=2)
    path = os.path.join(folder, "small.model")
    with open(path, "wb") as f:
        f.write(model.getvalue())
    return path


def small_tekken(folder):
    """256 bytes and a few merges, by counting pairs."""
    with open(os.path.join(DATA, "tekken_240911.json"), encoding="utf-8") as f:
        pattern = json.load(f)["config"]["pattern"]
    words = [bytes([b]) for b in range(256)]
    texts = [[bytes([b]) for b in (" " + word).encode()]
             for word in WORDS + ["name", "arguments", "content"] * 3]
    while len(words) < 320:
        pairs = collections.Counter(p for t in texts for p in zip(t, t[1:]))
        a, b = min(pairs, key=lambda p: (-pairs[p], p))
        words.append(a + b)
        for t in texts:
            for i in range(len(t) - 2, -1, -1):
                if t[i:i + 2] == [a, b]:
                    t[i:i + 2] = [a + b]
    special = special_tokens()
    data = {"config": {"pattern": pattern, "num_vocab_tokens": len(words),
                       "default_vocab_size": len(words) + len(special),
                       "default_num_special_tokens": len(special), "version": "v13"},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(w).decode(), "token_str": None}
                      for i, w in enumerate(words)],
            "special_tokens": special}
    path = os.path.join(folder, "tekken.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(data, f)
    return path


def detail(r):
    """A single message with a schema, a pattern or a setting, right or wrong."""
    out = {"messages": [{"role": "user", "content": "a"}]}
    what = r.random()
    if what < 0.15:
        spoil_tools(r, out)
    elif what < 0.4:
        spoil_setting(r, out)
    else:
        parameters = (bad_schema(r) if what < 0.7 else schema(r) if what < 0.85
                      else {"pattern": r.choice(PATTERNS)})
        out["tools"] = [{"function": {"name": "f", "parameters": parameters}}]
    return write(r, out)


def golden_lines(tokenizer, version, seed):
    """All pointed conversations, and others that are accepted and short."""
    r = random.Random(seed)
    fixed = pointed()
    kept = [(line, expected(tokenizer, line)) for line in fixed]
    accepted = sum(want is not None for _, want in kept)
    while accepted < 30:
        line = request(r, int(version[1:]))
        want = expected(tokenizer, line)
        if want and len(line) < 400:
            kept.append((line, want))
            accepted += 1
    details = [detail(r) for _ in range(300 if version == "v13" else 0)]
    kept += [(line, expected(tokenizer, line)) for line in details if len(line) < 150][:130]
    return kept


def golden(program, target, seed):
    different = 0
    os.makedirs(target, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        spm, tekken = small_sentencepiece(folder), small_tekken(folder)
        shutil.copy(spm, os.path.join(target, "small.model"))
        shutil.copy(tekken, os.path.join(target, "tekken.json"))
        for kind, version in [("spm", v) for v in ("v1", "v2", "v3", "v7")] + [
                ("tekken", v) for v in ("v3", "v7", "v11", "v13")]:
            path = (shutil.copy(spm, f"{spm}.{version}") if kind == "spm"
                    else tekken_of(version, tekken, folder))
            tokenizer = MistralTokenizer.from_file(path)
            kept = golden_lines(tokenizer, version, f"{seed} {kind} {version}")
            with open(os.path.join(target, f"{kind}-{version}.jsonl"), "w", encoding="utf-8") as f:
                for line, want in kept:
                    record = {"request": line, **(want or {"error": True})}
                    f.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
            mine = answers(program, path, [line for line, _ in kept], "--version", version)
            wrong = sum(a != want for a, (_, want) in zip(mine, kept))
            different += wrong
            print(f"{kind} {version}: {len(kept)} golden conversations, {wrong} differences")
    return 1 if different else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("-n", type=int, default=600, help="conversations per tokenizer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--golden", metavar="FOLDER", help="write golden conversations")
    args = parser.parse_args()
    if args.golden:
        return golden(args.program, args.golden, args.seed)
    return compare(args.program, args.n, args.seed)


if __name__ == "__main__":
    sys.exit(main())
