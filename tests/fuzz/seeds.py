#!/usr/bin/env python3
"""Makes the small inputs that fuzzing starts from: seeds.py [FOLDER]. Needs the standard library only."""
import io
import json
import pathlib
import struct
import sys
import zipfile

HERE = pathlib.Path(__file__).parent
OUT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus"


def save(target, name, data):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U16": 2, "U8": 1, "F8_E4M3": 1,
         "F8_E5M2": 1}


def safetensors(tensors, metadata=None, padding=0):
    """tensors: (name, dtype, shape, bytes or None for zeros)"""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, dtype, shape, raw in tensors:
        count = SIZES[dtype]
        for n in shape:
            count *= n
        raw = bytes(count) if raw is None else raw
        assert len(raw) == count, name
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + count]}
        data += raw
    text = dumps(header).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + data


def make_safetensors():
    save("safetensors", "one", safetensors([("x", "F32", [2, 3], None)]))
    save("safetensors", "types", safetensors([(t, t, [1], None) for t in SIZES], {"format": "pt"}, 5))
    save("safetensors", "empty", safetensors([("a", "F32", [0, 4], None), ("b", "U8", [], b"7")]))
    save("safetensors", "none", safetensors([]))
    save("safetensors", "rank8", safetensors([("r", "BF16", [1, 2, 1, 1, 2, 1, 1, 1], None)]))
    save("safetensors", "short", safetensors([("x", "F64", [2], None)])[:-1])
    weight = {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}
    save("shards", "both", dumps({"metadata": {"total_size": 12}, "weight_map": weight}))
    save("shards", "plain", dumps({"weight_map": weight}))
    save("shards", "outside", dumps({"weight_map": {"x": "../a.safetensors"}}))
    save("shards", "missing", dumps({"weight_map": {"x": "a.safetensors", "z": "c.safetensors"}}))


DENSE = {"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "head_dim": 8,
         "hidden_act": "silu", "hidden_size": 22, "intermediate_size": 27, "max_position_embeddings": 32768,
         "model_type": "mistral", "num_attention_heads": 6, "num_hidden_layers": 2, "num_key_value_heads": 2,
         "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 5, "tie_word_embeddings": False,
         "vocab_size": 41}
NATIVE = {"dim": 22, "n_layers": 4, "head_dim": 8, "hidden_dim": 27, "n_heads": 6, "n_kv_heads": 2,
          "norm_eps": 1e-05, "vocab_size": 41, "rope_theta": 1000000.0, "sliding_window": None,
          "max_seq_len": 4096}


def make_configs():
    moe = dict(DENSE, architectures=["MixtralForCausalLM"], model_type="mixtral", num_local_experts=5,
               num_experts_per_tok=2, router_aux_loss_coef=0.001, sliding_window=None)
    reward = dict(DENSE, architectures=["MistralForSequenceClassification"], num_labels=2,
                  id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}, pad_token_id=0)
    scaled = {k: v for k, v in DENSE.items() if k not in ("rope_theta", "head_dim")}
    scaled.update(hidden_size=48, rope_parameters={"rope_theta": 1e6, "rope_type": "default"})
    for name, value in (("dense", DENSE), ("moe", moe), ("reward", reward), ("scaled", scaled)):
        save("config", name, dumps(value))
    torrent = {"hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 27, "num_attention_heads": 6,
               "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "vocab_size": 41, "rope_theta": 1e6,
               "num_experts": 5, "num_experts_per_token": 2}
    for name, value in (("dense", NATIVE), ("moe", dict(NATIVE, moe={"num_experts": 4, "num_experts_per_tok": 2})),
                        ("windows", dict(NATIVE, sliding_window=["5", None, 7, None], tied_embeddings=True)),
                        ("torrent", torrent), ("labels", dict(NATIVE, n_labels=1))):
        save("params", name, dumps(value))


def varint(n):
    n &= 2 ** 64 - 1
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def piece(text, score=0.0, kind=1):
    return field(1, field(1, text) + field(2, float(score)) + (field(3, kind) if kind != 1 else b""))


def charsmap(units, strings):
    return struct.pack("<I", 4 * len(units)) + struct.pack("<%dI" % len(units), *units) + strings


def make_sentencepiece():
    start = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3)
    words = b"".join(piece(w, -i) for i, w in enumerate(("he", "ll", "hell", "hello", "\u2581h", "\u2581", "h",
                                                         "e", "l", "o", "w", "r", "d")))
    every = b"".join(piece("<0x%02X>" % i, 0, 6) for i in range(256))
    trainer = field(3, 2) + field(40, 0) + field(41, 1) + field(42, 2) + field(43, -1)
    spec = field(3, field(1, "identity") + field(3, 1) + field(4, 0) + field(5, 1))
    save("sentencepiece", "small", start + words + field(2, trainer) + spec)
    save("sentencepiece", "bytes", start + every + words + field(2, trainer + field(35, 1)) + spec)
    trim = field(3, field(1, "x") + field(3, 1) + field(4, 1) + field(5, 1))
    save("sentencepiece", "trim", start + words + piece("[INST]", 0, 4) + piece("gone", 0, 5) +
         field(2, trainer + field(24, 1) + field(26, 1)) + trim)
    controls = ("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
                "[TOOL_CALLS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]")
    save("sentencepiece", "chat", start + b"".join(piece(c, 0, 3) for c in controls) + words + field(2, trainer) + spec)
    mapped = field(3, field(1, "x") + field(2, charsmap([0x4f00, 0, 0x161], b"a\0")) + field(3, 1))
    save("sentencepiece", "mapped", start + words + field(2, trainer) + mapped)


def make_json_tokenizers():
    tail = (',{"rank":256,"token_bytes":"YWI=","token_str":"ab"},{"rank":257,"token_bytes":"YWJj",'
            '"token_str":"abc"}]')
    special = [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(("<unk>", "<s>", "</s>"))]
    save("tekken", "plain", "+" + tail + "}")
    save("tekken", "special", "+" + tail + ',"special_tokens":' + dumps(special) + "}")
    save("tekken", "image", "+" + tail + ',"multimodal":{"image_patch_size":16},"audio":null}')
    save("tekken", "broken", '{"config":{"pattern":"x","num_vocab_tokens":1},"vocab":[]}')
    vocab = {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "\u2581": 4, "\u2581a": 5, "\u0120": 6, "<0x0A>": 7}
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
             "vocab": vocab, "merges": [["a", "b"], ["\u2581", "a"]]}
    added = [{"id": 0, "content": "<unk>", "single_word": False, "lstrip": False, "rstrip": True,
              "normalized": False, "special": True}]
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    meta = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    split = {"type": "Split", "pattern": {"String": "a"}, "behavior": "MergedWithNext", "invert": False}
    regex = dict(split, pattern={"Regex": "\\p{N}"}, behavior="Isolated", invert=True)
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    files = {
        "plain": (None, None, None),
        "older": ({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace]}, None,
                  {"type": "Sequence", "decoders": [dict(replace, pattern={"String": "\u2581"}, content=" "),
                                                    {"type": "ByteFallback"}, {"type": "Fuse"}, strip]}),
        "meta": ({"type": "NFKC"}, meta, meta),
        "level": ({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}, level, level),
        "split": ({"type": "Strip", "strip_left": True, "strip_right": True},
                  {"type": "Sequence", "pretokenizers": [split, regex, {"type": "Digits", "individual_digits": True},
                                                         {"type": "Whitespace"}]},
                  {"type": "Fuse"}),
        "words": ({"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                   "strip_accents": None, "lowercase": True},
                  {"type": "Punctuation", "behavior": "Isolated"}, {"type": "BPEDecoder", "suffix": "</w>"}),
    }
    for name, (normalizer, before, decoder) in files.items():
        save("hf", name, dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
                                "normalizer": normalizer, "pre_tokenizer": before, "post_processor": None,
                                "decoder": decoder, "model": model}))


TEXTS = ("Hello, world! 123", "  two  blanks\n\n\ttab", "na\u00efve \u2581 \u65e5\u672c\u8a9e \U0001f642",
         "[INST] </s> <unk> [REF]", "don't I'LL x'y", "ABCdefGHI \u00df\u01c5 \u0301 \u200d", "a" * 70)


def make_texts():
    for kind in range(8):
        for i, text in enumerate(TEXTS):
            if (i + kind) % 3 == 0:
                save("encode", "%d_%d" % (kind, i), bytes([kind]) + text.encode())
        save("encode", "%d_bad" % kind, bytes([kind]) + b"a\xff\xe2\x82 \xf0\x9f\x99 \xc0\x80\xed\xa0\x80\0z")
        save("decode", "%d_1" % kind, bytes([kind]) + bytes(range(0, 256, 7)))
        save("decode", "%d_2" % kind, bytes([kind + 8]) + struct.pack("<20H", *range(240, 260), ))
        save("decode", "%d_4" % kind, bytes([kind + 16]) + struct.pack("<5i", 1, 2, 300, 301, -1))


def make_chats():
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {
        "type": "object", "properties": {"x": {"type": "string", "pattern": "^a+(?:b|c)*$"}}, "required": ["x"]}}}
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": '{"x": 1e22}'}}
    user, answer = {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}
    talks = {
        "plain": {"messages": [user, answer, user]},
        "system": {"messages": [{"role": "system", "content": "s"}, user]},
        "tools": {"messages": [user, {"role": "assistant", "content": "", "tool_calls": [call]},
                               {"role": "tool", "content": '{"r": [1, null]}', "tool_call_id": "abcdefghi"},
                               answer, user], "tools": [tool]},
        "prefix": {"messages": [user, dict(answer, prefix=True)]},
        "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "p"}]},
                               {"role": "assistant", "content": [{"type": "thinking", "closed": True, "thinking": [
                                   {"type": "text", "text": "t"}]}, {"type": "text", "text": "q"}]}, user]},
        "goes_on": {"messages": [user, answer], "continue_final_message": True},
    }
    for i, (name, talk) in enumerate(talks.items()):
        for version in range(16):
            if (version + i) % 3 == 0 or name == "tools":
                save("chat", "%s_%d" % (name, version), bytes([version]) + dumps(talk).encode())


def npy(descr, shape, raw, version=1):
    text = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    start = 10 if version == 1 else 12
    text += " " * (-(start + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + \
        text.encode() + raw


def make_arrays():
    arrays = {"f4": npy("<f4", (2, 3), bytes(24)), "i8": npy("<i8", (), bytes(8)),
              "u1": npy("|u1", (5,), b"hello", 2), "empty": npy("<f8", (0, 7), b"", 3),
              "big": npy("<f2", (65536, 65536), b"")}
    for name, data in arrays.items():
        save("npy", name, data)
    members = {k: v for k, v in arrays.items() if k != "big"}
    members["b.bf16"] = npy("<u2", (2,), bytes(4))
    members["meta"] = npy("|u1", (2,), b"{}")
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for member, data in members.items():
                archive.writestr(zipfile.ZipInfo(member + ".npy", (1980, 1, 1, 0, 0, 0)), data, method)
        save("npz", name, out.getvalue())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        with archive.open(zipfile.ZipInfo("x.npy", (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as member:
            member.write(arrays["f4"])
    save("npz", "wide", out.getvalue())


def make_meta():
    meta = {"precision": "f32", "convention": "native", "rope_angles": "f32", "rope_layout": "interleaved",
            "tokens": [[1, 5, 3]], "first_position": [0], "router_gaps": {"0": [0.5]}}
    save("meta", "plain", dumps(meta))
    save("meta", "packed", dumps(dict(meta, tokens=[[1, 5], [3]], first_position=[0, 7], layout="packed", chunk=2,
                                      rows={"layers.0.q": [0, 2]}, router_losses={"balance": 0.1, "z": 1e-3})))


def make_training():
    shapes = {"tok_embeddings.weight": [2, 2], "norm.weight": [2], "output.weight": [2, 2],
              "layers.0.attention_norm.weight": [2], "layers.0.attention.wq.weight": [2, 2],
              "layers.0.attention.wk.weight": [2, 2], "layers.0.attention.wv.weight": [2, 2],
              "layers.0.attention.wo.weight": [2, 2], "layers.0.ffn_norm.weight": [2],
              "layers.0.feed_forward.w1.weight": [1, 2], "layers.0.feed_forward.w2.weight": [2, 1],
              "layers.0.feed_forward.w3.weight": [1, 2]}
    for name, rows in (("start", 0), ("later", 2)):
        tensors = [("counters", "I64", [8], struct.pack("<8q", rows, rows, 4, 20, 0, 0, 0, 0)),
                   ("best", "F64", [1], struct.pack("<d", 1.5)), ("log", "F64", [rows, 3], None),
                   ("settings", "U8", [10], b'{"seed":7}')]
        for part in ("weights", "first", "second"):
            tensors += [("%s.%s" % (part, n), "F32", s, None) for n, s in shapes.items()]
        save("training", name, safetensors(tensors, {"format": "mistral-ref training 1"}))


def make_lines():
    save("jsonl", "texts", '{"text":"a"}\n\n  \t\r\n{"text":"\u00e9","x":[1,2.5e3,null,true]}\r\n')
    save("jsonl", "ids", '{"input_ids":[1,2],"labels":[-100,2]}\n{"prompt":"a","completion":"b"}')
    save("jsonl", "broken", '{"a":1}\n[1]\n')
    words = ("@m --tokens 1,5,3 -n 4", "@m -p hello --precision bf16 --engine plain --json", "@m @sft.jsonl",
             "@m --tokens 1,2,3 -o t.npz --decode 2 --only layers.0.*", "@m -p a --json --threads 2",
             "@m --json -c 64", "@m he'llo --jsonl --bos", "--tokens 9 --window 3 --rule swa --chunk 2",
             "@m -o d --seed 7 --dtype bf16 --to native", "@m -o e --to native --dtype f16 --kv-heads 1",
             "--json", "@t.npz @t.npz --model @m --dtype f32 -v", "@m @chat.jsonl --jsonl --version v3",
             "@m --system s -n 3", "sft @m --data @sft.jsonl -o r --steps 2 --batch 2 --lr 1e-2")
    names = ("run", "logits", "score", "trace", "routing", "info", "tokenize", "mask", "init", "convert",
             "selftest", "compare", "chat-template", "chat", "train")
    for i, (name, line) in enumerate(zip(names, words)):
        lines = line.replace(" ", "\n")
        save("options", name, bytes([i + 15]) + lines.encode())
        if name != "selftest":
            for word, harmless in (("m\n-o\nd", "m/config.json\n-o\nd"), ("64", "4"), ("9", "4"), ("7", "3")):
                lines = lines.replace(word, harmless)
            save("command", name, name + "\n" + lines)
    for name, line in (("help", "--help"), ("version", "--version"), ("usage", "run --help"), ("wrong", "runs"),
                       ("paths", "compare @t.npz @t.npz --paths"), ("bare", "compare @t.npz @t.npz --json"),
                       ("chunk", "logits @m --tokens 1,2,3,4 --chunk 2 --window 2 --convention hf"),
                       ("dpo", "train dpo @m --data @dpo.jsonl -o r --steps 1 --batch 1"),
                       ("other", "compare @t.npz @u.npz --model @m --junit j.xml --html h.html"),
                       ("layers", "compare @t.npz @u.npz --paths --model @m --json"),
                       ("named", "compare @t.npz @u.npz --map @map.json"),
                       ("gradients", "trace @m --tokens 1,5,7 -o t.safetensors --grad --engine plain"),
                       ("reward", "train reward @m --data @dpo.jsonl -o r --steps 2 --valid @dpo.jsonl --curve c.svg"),
                       ("rl", "train rl @m --data @dpo.jsonl -o r --steps 1 --reward-model @r --max-new 3 --samples 2"),
                       ("ppo", "train rl @m --data @dpo.jsonl -o r --steps 1 --reward-model @r --max-new 2 --method ppo"),
                       ("dry", "train reward @m --data @dpo.jsonl -o r --dry-run --json")):
        save("command", name, line.replace(" ", "\n"))


for make in (make_safetensors, make_configs, make_sentencepiece, make_json_tokenizers, make_texts, make_chats,
             make_arrays, make_meta, make_training, make_lines):
    make()
