//! The tokenizer's metadata of a GGUF file, read by the least that does it: the files are trusted here.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use pixel_llm::model::tokenizer::{TokenType, TokenizerSpec};

#[derive(Debug)]
enum Value {
    Number(f64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    fn number(&self) -> f64 {
        let Value::Number(number) = self else { panic!("expected a number, found {self:?}") };
        *number
    }

    fn text(&self) -> String {
        let Value::Text(text) = self else { panic!("expected a text, found {self:?}") };
        text.clone()
    }

    fn list<T>(&self, item: impl Fn(&Value) -> T) -> Vec<T> {
        let Value::List(items) = self else { panic!("expected a list, found {self:?}") };
        items.iter().map(item).collect()
    }
}

struct Reader(BufReader<File>);

impl Reader {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn text(&mut self) -> String {
        let len = u64::from_le_bytes(self.bytes());
        let mut bytes = Vec::new();
        self.0.by_ref().take(len).read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn value(&mut self, kind: u32) -> Value {
        Value::Number(match kind {
            0 | 7 => u8::from_le_bytes(self.bytes()).into(),
            1 => i8::from_le_bytes(self.bytes()).into(),
            2 => u16::from_le_bytes(self.bytes()).into(),
            3 => i16::from_le_bytes(self.bytes()).into(),
            4 => u32::from_le_bytes(self.bytes()).into(),
            5 => i32::from_le_bytes(self.bytes()).into(),
            6 => f32::from_le_bytes(self.bytes()).into(),
            8 => return Value::Text(self.text()),
            9 => {
                let item = u32::from_le_bytes(self.bytes());
                let len = u64::from_le_bytes(self.bytes());
                return Value::List((0..len).map(|_| self.value(item)).collect());
            }
            10 => u64::from_le_bytes(self.bytes()) as f64,
            11 => i64::from_le_bytes(self.bytes()) as f64,
            12 => f64::from_le_bytes(self.bytes()),
            other => panic!("no such type: {other}"),
        })
    }
}

/// The tokenizer that the file describes.
pub fn read(path: &Path) -> TokenizerSpec {
    let mut reader = Reader(BufReader::new(File::open(path).unwrap()));
    assert_eq!(&reader.bytes::<4>(), b"GGUF");
    let _version = u32::from_le_bytes(reader.bytes());
    let _tensors = u64::from_le_bytes(reader.bytes());
    let pairs = u64::from_le_bytes(reader.bytes());
    let mut metadata = HashMap::new();
    for _ in 0..pairs {
        let key = reader.text();
        let kind = u32::from_le_bytes(reader.bytes());
        metadata.insert(key, reader.value(kind));
    }
    let get = |name: &str| metadata.get(&format!("tokenizer.ggml.{name}"));
    let id = |name| get(name).map(|value| value.number() as u32);
    let flag = |name| get(name).map(|value| value.number() != 0.0);
    TokenizerSpec {
        model: get("model").unwrap().text(),
        pre: get("pre").map(Value::text),
        tokens: get("tokens").unwrap().list(Value::text),
        scores: get("scores").map(|value| value.list(|score| score.number() as f32)),
        types: get("token_type")
            .map(|value| TokenType::list_from_gguf(&value.list(|kind| kind.number() as i64)).unwrap()),
        merges: get("merges").map(|value| value.list(Value::text)),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        eot: id("eot_token_id"),
        unk: id("unknown_token_id"),
        pad: id("padding_token_id"),
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
        chat_template: metadata.get("tokenizer.chat_template").map(Value::text),
    }
}
