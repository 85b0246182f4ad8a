//! What a result answers, in few bytes: a request without its id.

use std::fmt::Debug;

use sha2::{Digest, Sha256};

use super::Request;
use crate::batch::text::Prompt;
use crate::forward::AdapterSet;

/// Requests with the same digest have the same answer from the same model. 128 bits, so that no two
/// others share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDigest([u8; 16]);

impl RequestDigest {
    /// The digest in hexadecimal, as result lines give it.
    pub(crate) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Named values in the order they are added. A value that asks for nothing is left out, so that a
/// later version that knows more fields finds the digests of this one.
struct Writer(Sha256);

impl Writer {
    fn add<T: Debug + PartialEq>(&mut self, name: &str, value: &T, nothing: &T) {
        if value != nothing {
            self.bytes(name, format!("{value:?}").as_bytes());
        }
    }

    fn prompt(&mut self, prompt: &Prompt) {
        match prompt {
            Prompt::Text(text) => self.bytes("text", text.as_bytes()),
            Prompt::Tokens(tokens) => self.bytes("tokens", bytemuck::cast_slice(tokens)),
            Prompt::Chat(chat) => {
                for message in &chat.messages {
                    self.bytes("role", message.role.as_bytes());
                    self.add("content", &message.content, &None);
                    self.add("rest", &message.rest, &Vec::new());
                }
                self.add("variables", &chat.variables, &Vec::new());
                self.add("opens_answer", &chat.opens_answer, &true);
                self.add("continues_last", &chat.continues_last, &false);
            }
        }
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        // Each part after its length, so that no two lists of parts are the same bytes.
        for part in [name.as_bytes(), bytes] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }
}

impl Request {
    /// The digest of all that changes the answer and what is told about it: the prompt, and every
    /// field that a line or an option may set. The id has a part in it only where it changes the
    /// draws.
    pub fn digest(&self) -> RequestDigest {
        let mut writer = Writer(Sha256::new());
        writer.bytes("endpoint", format!("{:?}", self.endpoint).as_bytes());
        writer.prompt(&self.prompt);
        self.more_prompts.iter().for_each(|prompt| writer.prompt(prompt));
        writer.add("choices", &self.choices, &1);
        let sampling = &self.sampling;
        for (name, value) in [
            ("temperature", sampling.temperature),
            ("top_p", sampling.top_p),
            ("min_p", sampling.min_p),
            ("repeat_penalty", sampling.repeat_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
            ("presence_penalty", sampling.presence_penalty),
        ] {
            writer.bytes(name, &value.to_bits().to_le_bytes());
        }
        // At temperature 0 nothing is drawn.
        if sampling.temperature > 0.0 {
            writer.add("seed", &(sampling.seed, self.stream), &(0, 0));
        }
        writer.add("top_k", &sampling.top_k, &0);
        writer.add("repeat_last_n", &sampling.repeat_last_n, &0);
        writer.add("logit_bias", &sampling.logit_bias, &Vec::new());
        writer.add("max_tokens", &self.max_tokens, &0);
        writer.add("stop", &self.stop, &Vec::new());
        writer.add("logprobs", &self.logprobs, &None);
        writer.add("prompt_logprobs", &self.prompt_logprobs, &None);
        writer.add("echo", &self.echo, &false);
        writer.add("stop_tokens", &self.stop_tokens, &Vec::new());
        writer.add("ignore_end", &self.ignore_end, &false);
        writer.add("min_tokens", &self.min_tokens, &0);
        writer.add("keep_stop", &self.keep_stop, &false);
        writer.add("show_special", &self.show_special, &false);
        writer.add("form", &self.form, &None);
        let adapters = self.adapters.as_ref().map(AdapterSet::factors);
        writer.add("adapters", &adapters, &None);
        let digest = writer.0.finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        RequestDigest(first)
    }
}
