#!/usr/bin/env python3
"""Writes tests/model/tokenizer/corpus.json: nasty texts with the token ids that llama.cpp gives them, for every name of a pre-tokeniser.

Needs: pip install gguf numpy tokenizers xllamacpp     (the CPU wheel of xllamacpp holds a whole llama.cpp)
Usage: make_corpus.py [TEXTS [SEED [FILE]]]            (how many texts beside the written ones: 150 1 corpus.json)
       PIXEL_LLM_CORPUS=FILE cargo nextest run --test tokenizer corpus     (for more texts than are kept here)

The vocabulary is trained on the texts themselves without any cutting of words, so that its tokens reach
over every place where some pre-tokeniser cuts: a cut that is missing, or one too many, shows in the
ids. Some tokens have no merges that make them; those show whether a word that is a token stays whole.

Characters that only the newest Unicode has are left out: llama.cpp's table does not have them yet.
"""

import ctypes as C
import glob
import importlib.util
import json
import random
import sys
import tempfile
import unicodedata
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer, models, trainers

HERE = Path(__file__).parent
# The empty name stands for a file that does not say. A name that this llama.cpp does not load ends the script.
NAMES = """- default gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en jina-v2-code
roberta-bpe mpt olmo jais trillion granite-docling exaone4 smollm starcoder refact command-r codeshell exaone minerva-7b mellum2
llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano qwen2 deepseek-r1-qwen kormo f2llmv2 megrez
stablelm2 hunyuan solar-open grok-2 dbrx smaug-bpe glm4 chatglm-bpe qwen35 jais-2 deepseek-llm deepseek-coder deepseek-v3
hunyuan-dense hy_v4 joyai-llm spark2_5 youtu falcon poro-chat bloom gpt3-finnish viking tekken chameleon gpt-4o llama4 kanana2
talkie minimax-m2 granite-embed-multi-97m tiny_aya cohere2moe kimi-k2 superbpe bailingmoe bailingmoe2 llada-moe seed-coder
ufakzeka afmoe laguna exaone-moe minicpm5 glm5 k2-horizon""".split()

CONTRACTIONS = [
    "I'm don't We'LL you'Re 'S 'tis",
    "it\u2019s DON\u2019T l\u2019homme",
    "they'd've O'Neil's ''' 'll",
    "'\u017f '\u0131t x'T1 'T 't'T",
    "HE'S she'd'D we'vE I'lL y'all'd",
    "'s't're've'm'll'd'S'T'RE'VE'M'LL'D",
    " 's 'T  'm\n'll\t'd",
    "rock'n'roll '90s 5's A's",
    "d'\u00e9t\u00e9 L'\u00c9t\u00e9 \u00e9's \u4e2d's",
]
DIGITS = [
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "9" * 40,
    "0" * 19,
    " 1 12  123   1234\t12345\n123456",
    "3.14159 1,000,000 -1e-10 0xFF",
    "1st 2nd v1.2.3 12:34:56 2024-02-29 x1y2 a1234b12345c",
    "\u0663\u0664\u0665\u0666\u0667 \u0967\u0968\u0969\u096a \u0e51\u0e52\u0e53\u0e54\u0e55",
    "\uff11\uff12\uff13\uff14 1\uff122 \u2167\u2168 \u00bd\u00be\u00b2\u00b3\u2084\u2460\u2473\u32bf \u1369\u136a",
    "\U0001d7d9\U0001d7da\U0001d7db\U0001d7dc 1\u00bd2 x\u00b22 12\u066334",
    "abc123456def 12345678.1234567 (1234) $1234567",
]
SPACES = [
    "",
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\n\n",
    "\n\n\n\n\n",
    "\r\n",
    "\r",
    "\r\n\r\n",
    " \n",
    "\n ",
    " \n \n  x",
    "\t\t\tx\t\ty\t",
    "a\r\nb\r\n\r\nc\rd\n\re",
    "x \r\n  y",
    "a  b   c    d     e      f",
    " " * 40,
    " " * 40 + "x",
    "\n" * 33 + "x",
    "x" + "\t" * 17,
    " " * 1030 + "x",
    "\u00a0x \u00a0 y\u00a0\u00a0",
    "\u3000\u4e2d\u3000 \u6587",
    "a\u2003\u2009b\u202fc\u205fd\u1680e",
    "a\u2028b\u2029c\u0085d\u0085\u0085e",
    "a\u000b\u000cb\u001c\u001d\u001e\u001fc",
    "\u200bx\u200c\u200dy\ufeffz\u2060w\u180ev",
    "end of text   ",
    "end\n\n",
    "end \t\n ",
    "   start",
    "a \n\n b \n\n\n c  \n",
]
CONTROLS = [
    "\u0000",
    "a\u0000b\u0000\u0000",
    "\u0001\u0002\u0007\u0008x\u001b[0m",
    "\u007f\u0080\u0081\u009fx",
    "\u00adx\u00ad y",
    "\u061c\u200e\u200f\u202a\u202e\u2066\u2069x",
]
SCRIPTS = [
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u041c\u0418\u0420",
    "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u039a\u03cc\u03c3\u03bc\u03b5 \u1f08\u1fb3\u1fbc",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u4eca\u5929\u5929\u6c14\u4e0d\u9519\u3002abc\u4e2d\u6587def 123\u4e2d\u6587456",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c \u30ab\u30bf\u30ab\u30ca \uff8a\uff9d\uff76\uff78 \u30fb\u30fc\u3005\u3006",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4 \u3131\u314f \u1100\u1161\u11a8 \uac01",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u0643\u064a\u0641\u061f \u06d4 \u0645\u064e\u0631\u0652",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e \u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f",
    "\u09ac\u09be\u0982\u09b2\u09be \u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0c24\u0c46\u0c32\u0c41\u0c17\u0c41",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01 \u0e97\u0ea5\u0eb2\u0ea7 \u1781\u17d2\u1798\u17c2\u179a \u1019\u103c\u1014\u103a",
    "Vi\u1ec7t Nam \u01a1i Vie\u0323\u0302t",
    "\u16a0\u16c7\u16bb\u16eb\u16d2\u16e6\u16a6",
    "\U0001d518\U0001d52b\U0001d526 \u01c5 \u01c8 \u02b0 \u02b7 \u00aa \u00ba",
    "\ufb01 \ufb02 \uff21\uff22\uff23\uff41\uff42 \u1e9e \u00df \u0130 \u0131 \u0149",
    "\U00010348\U000103a0\U00012000\U00010400\U00010428",
    "\u10d0 \u10ef \u1c90 \ua66e \ua9c1\ua9c2 \u2e3b \u3105\u3106",
    "\u0561\u0562 \u1f59 \u1ff8 \u2c2f\u2c5f \U00010570\U00010597",
    "\u5350\u4e00\u9fa5\u9fa6\u9fff\u3400\u4dbf\uf900\ufaff\u2f00 \U00020000\U0002a6d6",
    "camelCaseWord PascalCase HTTPServer snake_case SCREAMING_CASE aB AbC\u00c9t\u00c9 \u00e9T\u00e9",
    "mixed\u0441\u043c\u0435\u0448\u4e2d\u6587\u0915\u093f\u05d0abc",
    "\u1e9b\u0323 \u017f\u0323\u0307 \u00c5 \u212b A\u030a e\u0301\u00e9 \u0344 \u0958 \u0915\u093c",
    "\u0301x \u0301 a\u0301\u0301\u0301b 1\u0301 !\u0301\u20e3 \u0903\u093e",
    "\u01c4\u01c5\u01c6 \u1d00\u1d2b \u2c7c \ua771",
]
EMOJI = [
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f937\U0001f3fd\u200d\u2640\ufe0f ok",
    "\U0001f3f3\ufe0f\u200d\U0001f308\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e007f",
    "\u2764\ufe0f\u200d\U0001f525\u2602\ufe0e",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1ef",
    "\U0001f600\U0001f603\U0001f604 x\U0001f600y",
    "1\ufe0f\u20e3#\ufe0f\u20e3",
    "\U0001fae0\U0001fabf\U0001fae8",
]
CODE = [
    "def f(x):\n\treturn x**2  # ok\n",
    "if (a&&b||!c) {\r\n    x += 0x1F;\r\n}",
    '<div class="a">&nbsp;</div>',
    "SELECT * FROM t WHERE a<>'b';",
    "#!/bin/sh\nset -eu\n\n\n",
    "Vec<Box<dyn Fn(&str) -> Result<(), E>>>",
    "\\frac{a}{b} \\\\ \\n",
    "::<>()[]{};;",
    "http://x.y/z?a=1&b=%20#q",
    "$HOME/.config ~/x",
    "// ---- \n/* x */\n\n",
    "a/\n/b//\r\n/c",
    "!abc #def $ghi @jkl ?mno -pqr _stu",
    "<sentinel:12> <sentinel:> IMGIMGABCZ IMGIMGABCDEZ IMGIMGZ IMGIMGJZ",
    "[!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~]",
    "+++ === <<< ^^^ ~~~ ||| ``` $$$",
]
PUNCT = [
    "\u2026 \u2014 \u201c\u201d \u2018\u2019 \u00ab\u00bb \u00bf\u00a1 \u3001\u3002 \u300a\u300b",
    "!!! ?!? -- === ... ->",
    "\u20ac\u00a3\u00a5\u20bf \u00a9\u00ae\u2122 \u00b0\u00b1\u00d7\u00f7 \u2190\u21d2\u2200\u2211\u221a",
    "x\u3002\uff0cy\uff1f z \uff01\uff5e\uff1a\uff1b",
    " (a) [b] {c}, d. e! f? g\u060c h\u06d4 i\u0964",
    "\u2660\u2665 \u2500\u2588 \u2801",
    "\u00b4\u00a8\u00b8\u02c6\u02dc ^ ` \u00af",
]
EDGES = [
    "\ud7ff\ue000\uf8ff\ufdd0\ufffd\uffff",
    "\U00010000\U0010ffff\U0010fffd\U0001fffe",
    "\u0378\u0379 \u05ff \u0870 \u0cf3 \u20c0",
    "\U00011f00\U0001e4d0\U000323af\U00031350\U0001faf8",
]
LONG = [
    "a" * 300,
    "ab" * 150 + " " + "A" * 100,
    "\u4e2d" * 120,
    "!" * 200,
    "x " * 100,
    "\u0301" * 60,
    "1a" * 60,
    "'s" * 60,
    "\U0001f600" * 50,
    "\u00e9" * 90,
    " \n" * 50,
    "a\n" * 40,
]
PROSE = [
    "hello world 3333+777 don't DON'T it's $12345!!! (really?)\n\n  a+b=c <<x1>> ~~ 1234567 12345 abc\tx \u00e9 \u0627\u4e2d\u6587.\n 1 000)",
    "The quick brown fox jumps over the lazy dog. 42 times!\n\nAnd then?  It slept.",
    "One hello is a world; helloworld HELLO Hello heLLo don dont",
]
POOLS = [CONTRACTIONS, DIGITS, SPACES, CONTROLS, SCRIPTS, EMOJI, CODE, PUNCT, EDGES, PROSE]
# Tokens that no merge makes.
WHOLE = [
    "hello",
    " world",
    "don",
    "1234",
    " the",
    "\u4e2d\u6587",
    "\n\n",
    "'s",
    "\u00e9t\u00e9",
    "123",
    "HELLO",
    " quick brown",
]


def letters():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 400))
    return [chr(byte if byte in plain else next(spare)) for byte in range(256)]


LETTERS = letters()


def spell(text):
    return "".join(LETTERS[byte] for byte in text.encode())


def texts(count, seed):
    """The written ones, then random mixtures of their parts and of characters of every category."""
    rng = random.Random(seed)
    groups = {}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        # Not those that some have from the newest Unicode and others do not have yet.
        if category == "Cn" and code & 0xFFFE != 0xFFFE and not 0xFDD0 <= code <= 0xFDEF:
            continue
        if category != "Cs" and (code < 0x30000 or code % 1021 == 0):
            groups.setdefault(category, []).append(chr(code))
    parts = [
        part
        for pool in POOLS
        for text in pool
        for part in (text.split(" ") if len(text) < 400 else [])
    ]
    bits = list("abzABZ  \n\r\t'1290.,!?/()$\u00e9\u4e2d\u0301") + [
        "'s",
        "'LL",
        "  ",
        "\n\n",
        "\r\n",
        "123",
        "12345",
    ]
    out = [text for pool in [*POOLS, LONG] for text in pool]
    for _ in range(count):
        n = rng.choice([1, 2, 3, 5, 8, 13])
        kind = rng.randrange(4)
        if kind == 0:
            out.append("".join(rng.choice(groups[rng.choice(list(groups))]) for _ in range(n)))
        elif kind == 1:
            out.append("".join(rng.choice(bits) for _ in range(2 * n)))
        elif kind == 2:
            out.append(rng.choice(["", " ", "\n"]).join(rng.choice(parts) for _ in range(n)))
        else:
            out.append(
                "".join(
                    rng.choice(
                        [
                            rng.choice(bits),
                            rng.choice(parts),
                            rng.choice(groups[rng.choice(list(groups))]),
                        ]
                    )
                    for _ in range(n)
                )
            )
    return list(dict.fromkeys(out))


def vocabulary(all_texts):
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=5000,
        min_frequency=1,
        initial_alphabet=LETTERS,
        max_token_length=24,
        show_progress=False,
    )
    # A long run would teach nothing but its own lengths.
    short = [spell(text) for text in all_texts if len(text) < 100]
    tokenizer.train_from_iterator(short + [spell(text[:9]) for text in all_texts], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    whole = [spell(text) for text in WHOLE]
    known = set(whole)
    merges = [merge for merge in merges if merge.replace(" ", "") not in known]
    # Runs of spaces by doubling, and then by half as much again: both show where a run is cut.
    space = LETTERS[32]
    runs = [(size, size) for size in (2**power for power in range(10))] + [
        (2 * size, size) for size in (2**power for power in range(1, 9))
    ]
    made = [f"{space * left} {space * right}" for left, right in runs]
    merges = made + [merge for merge in merges if merge.strip(space).strip()]
    merges = list(dict.fromkeys(merges))
    tokens = list(dict.fromkeys(tokens + whole + [merge.replace(" ", "") for merge in made]))
    # A merge of a token that no merge makes any more stays: it is never reached but by a word that is a token.
    return tokens, merges


# Vocabularies whose merges make or take what is no token: further tokens, merges, texts. ASCII alone, since llama.cpp loses the
# other letters of what a merge makes and no token is.
ODD = [
    (["bc"], ["a b", "b c"], ["abc", "ab", "bc", "abcabc", "abbc"]),
    (["abc"], ["a b", "ab c"], ["abc", "ab", "abcd", "aabcc"]),
    (["ab", "abcd"], ["a b", "c d", "ab cd"], ["abcd", "cd", "abcdcd"]),
    (["bc"], ["b c", "a bc"], ["abc", "bc", "abcbc"]),
    (["ab", "ab c"], ["a b", "ab  c", "a b c", "b  c", "xy"], ["ab c", "abc", "xy"]),
    (["word", "wo"], ["w o", "r d", "o rd"], ["word", "wor", "words", "rd"]),
]


class Block(C.Structure):
    """The parameters of llama.h, which grow with its versions."""

    _fields_ = [("words", C.c_int32 * 128)]


class Llama:
    def __init__(self):
        folder = importlib.util.find_spec("xllamacpp").submodule_search_locations[0]
        self.lib = lib = C.CDLL(glob.glob(folder + "/xllamacpp*.so")[0])
        self.log = C.CFUNCTYPE(None, C.c_int, C.c_char_p, C.c_void_p)(
            lambda level, text, _: level == 4 and sys.stderr.write(text.decode()) and None
        )
        lib.llama_log_set(self.log, None)
        lib.llama_backend_init()
        lib.llama_model_default_params.restype = Block
        lib.llama_model_load_from_file.restype = C.c_void_p
        lib.llama_model_load_from_file.argtypes = [C.c_char_p, Block]
        lib.llama_model_get_vocab.restype = C.c_void_p
        lib.llama_model_get_vocab.argtypes = [C.c_void_p]
        lib.llama_tokenize.argtypes = [
            C.c_void_p,
            C.c_char_p,
            C.c_int32,
            C.POINTER(C.c_int32),
            C.c_int32,
            C.c_bool,
            C.c_bool,
        ]
        lib.llama_model_free.argtypes = [C.c_void_p]

    def ids(self, path, all_texts):
        model = self.lib.llama_model_load_from_file(
            str(path).encode(), self.lib.llama_model_default_params()
        )
        if not model:
            return None
        vocab, out = self.lib.llama_model_get_vocab(model), []
        for text in all_texts:
            raw = text.encode()
            room = (C.c_int32 * (len(raw) + 16))()
            count = self.lib.llama_tokenize(vocab, raw, len(raw), room, len(room), False, False)
            assert count >= 0, (path, text)
            out.append(room[:count])
        first = (C.c_int32 * 4)()
        begins = self.lib.llama_tokenize(vocab, b"", 0, first, 4, True, False) == 1
        self.lib.llama_model_free(model)
        return out, begins


def write(path, name, tokens, merges):
    writer = gguf.GGUFWriter(str(path), "llama")
    for key, value in {
        "block_count": 1,
        "context_length": 32,
        "embedding_length": 32,
        "feed_forward_length": 32,
        "attention.head_count": 1,
    }.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model("gpt2")
    if name != "-":
        writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    # The smallest model that llama.cpp loads.
    shapes = {
        "token_embd": (len(tokens), 32),
        "output_norm": (32,),
        "blk.0.attn_norm": (32,),
        "blk.0.ffn_norm": (32,),
    }
    shapes |= {
        f"blk.0.{part}": (32, 32)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    }
    for tensor, shape in shapes.items():
        writer.add_tensor(tensor + ".weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    given = sys.argv[1:]
    count, seed, target = given + ["150", "1", str(HERE / "corpus.json")][len(given) :]
    count, seed = int(count), int(seed)
    all_texts = texts(count, seed)
    tokens, merges = vocabulary(texts(150, 1))
    llama, by_name, begins = Llama(), {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            path = Path(folder) / "vocabulary.gguf"
            write(path, name, tokens, merges)
            found = llama.ids(path, all_texts)
            if found is None:
                sys.exit(f"this llama.cpp does not load {name}")
            by_name[name] = found[0]
            if found[1]:
                begins.append(name)
    groups = []
    for name, ids in by_name.items():
        same = next((group for group in groups if by_name[group[0]] == ids), None)
        same.append(name) if same else groups.append([name])
    odd = []
    with tempfile.TemporaryDirectory() as folder:
        for more, odd_merges, odd_texts in ODD:
            for name in ("gpt-2", "llama-bpe"):
                path = Path(folder) / "vocabulary.gguf"
                write(path, name, LETTERS + more, odd_merges)
                odd.append(
                    [name, more, odd_merges, list(zip(odd_texts, llama.ids(path, odd_texts)[0]))]
                )
    line = lambda value: json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    rows = []
    for index, text in enumerate(all_texts):
        of_group = [by_name[group[0]][index] for group in groups]
        distinct = [ids for at, ids in enumerate(of_group) if ids not in of_group[:at]]
        rows.append(line([text, distinct, [distinct.index(ids) for ids in of_group]]))
    parts = [
        f'"tokens":{line(tokens)}',
        f'"merges":{line(merges)}',
        f'"odd":{line(odd)}',
        f'"names":{line(groups)}',
        f'"begins":{line(begins)}',
        '"texts":[\n' + ",\n".join(rows) + "\n]",
    ]
    Path(target).write_text("{" + ",\n".join(parts) + "}\n")
    print(
        len(all_texts),
        "texts,",
        len(NAMES),
        "names in",
        len(groups),
        "groups,",
        len(tokens),
        "tokens",
    )


main()
