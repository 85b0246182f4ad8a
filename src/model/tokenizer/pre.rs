//! The pre-tokenisers of byte-level BPE by name: which expressions cut a text, one after another,
//! as llama.cpp does.
//!
//! Published expressions end in `\s+(?!\S)|\s+`; here they are written without the look-ahead, and
//! [`Space`] says what becomes of a run of white space (see [`super::split`]).

/// What ends a run of white space that an expression found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// What the expression found.
    AsFound,
    /// Its last character goes to the word that follows: `\s+(?!\S)|\s+`.
    LeavesOne,
    /// The same, but a run that ends in a line break is whole: `\s*[\r\n]+` comes first.
    KeepsLineBreaks,
    /// As [`Space::KeepsLineBreaks`], and cut into runs of 512, 256, and so on down to one.
    Halved,
}

/// One cut: what is found stands alone, and so does what lies between.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// What an expression finds, and what becomes of white space in it.
    Found(&'static str, Space),
    /// Numbers in groups of three from the right; what stands before a number stays with its first
    /// group.
    ThreesWithBefore,
    /// Before each group of three ASCII digits from the right.
    BeforeThrees,
}

/// A pre-tokeniser: its names, its cuts, and how llama.cpp treats its vocabulary.
#[derive(Debug)]
pub struct Pre {
    /// The values of `tokenizer.ggml.pre` that mean it.
    pub names: &'static [&'static str],
    /// What cuts, the first first.
    pub cuts: &'static [Cut],
    /// A word that is a token is that token, whatever the merges would make.
    pub whole_words_first: bool,
    /// A sequence begins with the token for that, unless the file says otherwise.
    pub begins: bool,
}

use Cut::{BeforeThrees, Found, ThreesWithBefore};
use Space::{AsFound, Halved, KeepsLineBreaks, LeavesOne};

const GPT2: Cut =
    Found(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+", LeavesOne);
const DIGIT: Cut = Found(r"\p{N}", AsFound);
const UP_TO_THREE: Cut = Found(r"\p{N}{1,3}", AsFound);
const THREE_ASCII: Cut = Found(r"[0-9][0-9][0-9]", AsFound);
const LINES: Cut = Found(r"[^\n]+|\n+", AsFound);
const LLAMA3: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const JAIS2: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    ),
    Halved,
);
const QWEN2: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const QWEN35: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
/// Marks and the joiners of Indic and Persian text belong to a word.
const K2_HORIZON: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}\u{200C}\u{200D}]+|",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const UFAKZEKA: Cut = Found(
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    KeepsLineBreaks,
);
const MINICPM5: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const SEED_CODER: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|",
        r"\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const BAILING: Cut = Found(
    concat!(
        r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+",
    ),
    KeepsLineBreaks,
);
const EXAONE_MOE: Cut = Found(
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|",
        r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+",
    ),
    KeepsLineBreaks,
);
const TEKKEN: Cut = Found(
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+|",
        r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|",
        r"\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const GPT4O: Cut = Found(
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|",
        r"'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*(?:'[sS]|",
        r"'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const GRANITE_MULTI: Cut = Found(
    concat!(
        r"[^\r\n\p{L}\p{N}]?[[\p{L}\p{M}]--[a-z]]*[[\p{L}\p{M}]--[A-Z]]+(?:'[sS]|'[tT]|",
        r"'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|",
        r"[^\r\n\p{L}\p{N}]?[[\p{L}\p{M}]--[a-z]]+[[\p{L}\p{M}]--[A-Z]]*(?:'[sS]|'[tT]|",
        r"'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|",
        r"\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
/// llama.cpp takes `\p{Lu}` and its like for `\p{L}`, so that the case of letters cuts nothing.
const YOUTU: Cut = Found(
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|",
        r"'[dD])?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const TINY_AYA: Cut = Found(
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|",
        r"'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
/// llama.cpp's own rule for Kimi: letters whatever their case, Chinese apart by its own list of
/// ranges.
const KIMI: Cut = Found(
    concat!(
        r"[一-鿿㐀-䶿\x{20000}-\x{2A6DF}\x{2A700}-\x{2EBEF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]+|",
        r"[^\r\n\p{L}\p{N}]?[\p{L}--[一-鿿㐀-䶿\x{20000}-\x{2A6DF}\x{2A700}-\x{2EBEF}\x{F900}-\x{F",
        r"AFF}\x{2F800}-\x{2FA1F}]]+(?:'(?i:s|t|m|d|re|ve|ll))?|\p{N}{1,3}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+",
    ),
    KeepsLineBreaks,
);
const HAN_AND_KANA: Cut = Found(r"[一-龥぀-ゟ゠-ヿ]+", AsFound);
/// llama.cpp takes no white space for a character of such a range.
const HAN_TO_HANGUL: Cut = Found(r"[[一-龥ࠀ-一가-퟿]--\s]+", AsFound);
const DEEPSEEK3: Cut = Found(
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"##,
        r##"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+"##,
    ),
    KeepsLineBreaks,
);
const SPARK: Cut = Found(
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"##,
        r##"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+"##,
    ),
    LeavesOne,
);
const BLOOM: Cut = Found(r" ?[^(\s|.,!?…。，、।۔،)]+", AsFound);

const fn pre(names: &'static [&'static str], cuts: &'static [Cut]) -> Pre {
    Pre { names, cuts, whole_words_first: false, begins: false }
}

/// All that are known, the one first that is meant where a file does not say.
pub static ALL: [Pre; 32] = [
    pre(
        &["default"],
        &[Found(r"[\p{P}$+<=>^~|]+", AsFound), GPT2, Found(r"\p{N}+", AsFound), THREE_ASCII],
    ),
    pre(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
        &[GPT2],
    ),
    pre(
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[DIGIT, GPT2],
    ),
    Pre {
        whole_words_first: true,
        begins: true,
        ..pre(
            &[
                "llama-bpe",
                "llama3",
                "llama-v3",
                "falcon3",
                "falcon-h1",
                "pixtral",
                "midm-2.0",
                "lfm2",
                "jina-v5-nano",
            ],
            &[LLAMA3],
        )
    },
    pre(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        &[QWEN2],
    ),
    pre(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3]),
    Pre { whole_words_first: true, ..pre(&["glm4", "glm5"], &[LLAMA3]) },
    pre(&["qwen35"], &[QWEN35]),
    pre(&["jais-2"], &[JAIS2]),
    pre(
        &["deepseek-llm"],
        &[
            Found(r"[\r\n]", AsFound),
            Found(DEEPSEEK_LETTERS, AsFound),
            Found(r"\s?[!-/:-~！-／：-～‘-‟、。]+", AsFound),
            Found(r"\s+$", AsFound),
            HAN_TO_HANGUL,
            Found(r"\p{N}+", AsFound),
        ],
    ),
    pre(
        &["deepseek-coder"],
        &[
            Found(r"[\r\n]", AsFound),
            Found(r"\s?\p{L}+", AsFound),
            Found(r"\s?\p{P}+", AsFound),
            HAN_TO_HANGUL,
            DIGIT,
        ],
    ),
    pre(
        &["deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"],
        &[UP_TO_THREE, HAN_AND_KANA, DEEPSEEK3],
    ),
    pre(&["spark2_5"], &[UP_TO_THREE, HAN_AND_KANA, SPARK, DIGIT]),
    Pre {
        whole_words_first: true,
        ..pre(
            &["youtu"],
            &[
                Found(
                    r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
                    AsFound,
                ),
                YOUTU,
            ],
        )
    },
    pre(&["falcon"], &[Found(r"[\p{P}$+<=>^~|`]+", AsFound), GPT2, THREE_ASCII]),
    pre(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM]),
    pre(&["viking"], &[BLOOM, DIGIT]),
    Pre { whole_words_first: true, begins: true, ..pre(&["tekken"], &[TEKKEN]) },
    Pre {
        begins: true,
        ..pre(
            &["chameleon"],
            &[
                Found(r"<sentinel:[0-9]+>", AsFound),
                Found(r"IMGIMG[A-I]{1,4}Z", AsFound),
                Found(r"[\t\n]|    |  ", AsFound),
                DIGIT,
                Found(r"[\p{P}!-/:-@\[-`{-~]", AsFound),
                GPT2,
            ],
        )
    },
    pre(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[GPT4O]),
    Pre { whole_words_first: true, ..pre(&["granite-embed-multi-97m"], &[GRANITE_MULTI]) },
    pre(&["tiny_aya", "cohere2moe"], &[ThreesWithBefore, TINY_AYA]),
    pre(&["kimi-k2"], &[KIMI]),
    pre(&["k2-horizon"], &[K2_HORIZON]),
    pre(&["superbpe"], &[Found(r"\p{N}+", AsFound), BeforeThrees]),
    pre(&["bailingmoe", "bailingmoe2", "llada-moe"], &[BAILING]),
    pre(&["seed-coder"], &[SEED_CODER]),
    pre(&["ufakzeka"], &[UFAKZEKA]),
    pre(
        &["afmoe"],
        &[
            ThreesWithBefore,
            Found(r"[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+", AsFound),
            DEEPSEEK3,
        ],
    ),
    pre(&["laguna"], &[LINES, QWEN2]),
    pre(&["exaone-moe"], &[EXAONE_MOE]),
    Pre { whole_words_first: true, ..pre(&["minicpm5"], &[UP_TO_THREE, MINICPM5]) },
];

/// The letters of DeepSeek LLM: those with a case.
const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ",
    r"ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛ",
    r"Ꜣ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
);

/// The names of all, in the order of [`ALL`].
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|pre| pre.names.iter().copied())
}

/// The pre-tokeniser of that name; none means the first.
pub fn named(name: Option<&str>) -> Option<&'static Pre> {
    match name {
        None | Some("") => Some(&ALL[0]),
        Some(name) => ALL.iter().find(|pre| pre.names.contains(&name)),
    }
}
