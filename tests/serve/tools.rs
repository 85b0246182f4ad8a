//! Tools of a chat, with a model whose chat template has them.

use pixel_llm::model::export::export;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Server, code};

/// The built-in model with another chat template of the same length, which prints tools.
fn model_with_tools() -> (TempDir, String) {
    const TEMPLATE: &str = "{% if tools %}{{ tools|tojson }}{% endif %}{% for m in messages %}\
        {{ '<|im_start|>'+m.role+'\n'+m.content+'<|im_end|>\n' }}{% endfor %}\
        {{ '<|im_start|>assistant\n' }}";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.gguf");
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    export(&model, &path, &|_| ()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let key = b"tokenizer.chat_template";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let marked = format!("{{#<tool_call>#}}{TEMPLATE}");
    let template = marked.replacen("#}", &format!("{}#}}", " ".repeat(length - marked.len())), 1);
    assert_eq!(template.len(), length);
    bytes[at + 8..at + 8 + length].copy_from_slice(template.as_bytes());
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn ask(choice: Value) -> Value {
    let tool = |name: &str, parameters: Value| {
        let function = json!({"name": name, "parameters": parameters});
        json!({"type": "function", "function": function})
    };
    let weather = json!({"type": "object", "required": ["days"], "additionalProperties": false,
        "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 7}}});
    let none = json!({"type": "object", "properties": {}, "additionalProperties": false});
    json!({"messages": [{"role": "user", "content": "What is the weather?"}], "seed": 4,
        "max_tokens": 120, "tools": [tool("weather", weather), tool("time", none)],
        "tool_choice": choice})
}

#[test]
fn calls_are_calls_of_the_tools_whole_and_streamed() {
    let (folder, model) = model_with_tools();
    let server = Server::start_in(&folder, &[&model]);
    let named = json!({"type": "function", "function": {"name": "weather"}});
    for choice in [json!("required"), named.clone()] {
        let body = ask(choice.clone());
        let (status, answer) = server.post("/v1/chat/completions", &body);
        assert_eq!(status, 200, "{answer}");
        let whole = &answer["choices"][0];
        assert_eq!(whole["finish_reason"], "tool_calls", "{answer}");
        assert!(whole["message"]["content"].is_null(), "{answer}");
        let call = &whole["message"]["tool_calls"][0];
        assert!(call["type"] == "function" && call["id"].is_string(), "{call}");
        let name = call["function"]["name"].as_str().unwrap();
        assert!(["weather", "time"].contains(&name) && (choice != named || name == "weather"));
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        if name == "weather" {
            assert!((1..=7).contains(&arguments["days"].as_i64().unwrap()), "{arguments}");
        }
        let mut streamed = body.clone();
        streamed["stream"] = json!(true);
        let chunks = server.stream("/v1/chat/completions", &streamed);
        let calls = chunks
            .iter()
            .find_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array().cloned());
        assert_eq!(calls.unwrap()[0]["function"], call["function"]);
        let end = chunks.last().unwrap();
        assert_eq!(end["choices"][0]["finish_reason"], "tool_calls");
    }
    // The prompt has the tools, unless they are not to be called.
    let count = |choice: &str| {
        let (_, answer) = server.post("/v1/chat/completions", &ask(json!(choice)));
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert!(count("auto") > count("none") + 20);
}

#[test]
fn a_template_without_tools_gets_none() {
    let server = Server::start(&[]);
    let (status, answer) = server.post("/v1/chat/completions", &ask(json!("auto")));
    assert_eq!((status, code(&answer)), (400, "invalid_prompt"), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("`tools`"), "{answer}");
    let (status, answer) = server.post("/v1/chat/completions", &ask(json!("rain")));
    assert_eq!((status, code(&answer)), (400, "invalid_request"), "{answer}");
    assert_eq!(server.post("/v1/chat/completions", &ask(json!("none"))).0, 200);
}
