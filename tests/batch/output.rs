//! Result lines, and the promise that a run killed anywhere and resumed finishes each id exactly
//! once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::toy_engine::{Bytes, Toy};
use pixel_llm::batch::output::{Existing, ResultContext, Resumed, result_line};
use pixel_llm::batch::*;
use serde_json::Value;

/// Seven requests, two of which fail.
fn input_text() -> String {
    let prompts = ["one", "two", "", "the four", "the five", "six", "x"];
    let mut text: String = prompts
        .iter()
        .enumerate()
        .map(|(i, prompt)| {
            format!("{{\"id\": \"é{i}\", \"prompt\": \"{prompt}\", \"max_tokens\": 5}}\n")
        })
        .collect();
    text.push_str(&format!("{{\"id\": \"long\", \"prompt\": \"{}\"}}\n", "y".repeat(200)));
    text
}

const LINES: u64 = 8;
const FAILURES: u64 = 2;

/// Runs what is not finished, and gives what was found in the file. Stops as a killed run would
/// after `steps`.
fn run_batch(
    path: &Path,
    existing: Existing,
    slots: usize,
    steps: usize,
) -> Result<Resumed, OutputError> {
    let defaults = Defaults::default();
    let mut input =
        InputFile::spool("in".into(), input_text().as_bytes(), &defaults, false).unwrap();
    let (mut output, resumed) = OutputFile::open(path, existing, |id| input.mark_finished(id))?;
    let remaining = input.remaining() as u64;
    let mut progress = Progress::new(input.len() as u64, input.len() as u64 - remaining);
    let cancel = AtomicBool::new(false);
    let mut step = 0;
    let outcome = run(
        &mut Toy::new(slots, 16, 1),
        &Bytes,
        input.requests(&defaults),
        &mut progress,
        &cancel,
        |report| {
            match report {
                RunReport::Finished { request, outcome, .. } => {
                    let context = ResultContext { model: "toy", created: 1, model_digest: None };
                    output.write_line(&result_line(request, outcome, &context))?;
                }
                RunReport::Step(_) => {
                    step += 1;
                    cancel.store(step >= steps, Ordering::Relaxed);
                }
                _ => {}
            }
            Ok(())
        },
    );
    if outcome.unwrap() == RunOutcome::Complete {
        assert_eq!(output.written(), remaining);
        assert_eq!(progress.done(), remaining);
    }
    Ok(resumed)
}

const RESUME: Existing = Existing::Resume { retry_failed: false };

/// Every id with what does not depend on the time; panics where an id comes twice.
fn results(path: &Path) -> BTreeMap<String, (Value, Value)> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let mut results = BTreeMap::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let id = line["custom_id"].as_str().unwrap().to_owned();
        let found = (line["response"]["body"]["choices"].take(), line["error"].take());
        assert!(results.insert(id.clone(), found).is_none(), "{id} comes twice");
    }
    results
}

#[test]
fn a_run_cut_at_any_byte_is_resumed_to_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.jsonl");
    run_batch(&whole, Existing::Refuse, 1, usize::MAX).unwrap();
    let expected = results(&whole);
    assert_eq!(expected.len() as u64, LINES);
    let bytes = std::fs::read(&whole).unwrap();
    let path = folder.path().join("cut.jsonl");
    for cut in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let resumed = run_batch(&path, RESUME, 1 + cut % 3, usize::MAX).unwrap();
        let lines = bytes[..cut].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(resumed.kept, lines as u64, "cut at {cut}");
        assert_eq!(results(&path), expected, "cut at {cut}");
    }
}

#[test]
fn a_run_stopped_after_any_step_is_resumed_to_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.jsonl");
    run_batch(&whole, Existing::Refuse, 2, usize::MAX).unwrap();
    for steps in 1..30 {
        let path = folder.path().join(format!("{steps}.jsonl"));
        run_batch(&path, RESUME, 3, steps).unwrap();
        run_batch(&path, RESUME, 2, 3).unwrap();
        run_batch(&path, RESUME, 8, usize::MAX).unwrap();
        assert_eq!(results(&path), results(&whole));
    }
}

#[test]
fn failures_run_again_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    run_batch(&path, Existing::Refuse, 2, usize::MAX).unwrap();
    let before = std::fs::read(&path).unwrap();
    let resumed = run_batch(&path, RESUME, 2, usize::MAX).unwrap();
    assert_eq!(resumed, Resumed { kept: LINES, ..Resumed::default() });
    assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is left to do");

    // A stranger and a torn line stay and go as ever.
    let stranger = before.split_inclusive(|&byte| byte == b'\n').next().unwrap();
    let stranger = String::from_utf8(stranger.to_vec())
        .unwrap()
        .replace("\"custom_id\":\"", "\"custom_id\":\"no");
    let text = [stranger.as_bytes(), &before, b"{\"id\":\"batch_req_12"].concat();
    std::fs::write(&path, text).unwrap();
    let resumed = run_batch(&path, Existing::Resume { retry_failed: true }, 2, usize::MAX).unwrap();
    let kept = LINES - FAILURES + 1;
    let failed_stranger = u64::from(!stranger.contains("\"error\":null"));
    assert_eq!(
        resumed,
        Resumed {
            kept: kept - failed_stranger,
            strangers: 1 - failed_stranger,
            retried: FAILURES + failed_stranger,
            torn_in_bytes: 19
        }
    );
    let found = results(&path);
    assert_eq!(found.len() as u64, LINES + 1 - failed_stranger);
    assert_eq!(found.values().filter(|(_, error)| !error.is_null()).count() as u64, FAILURES);
    let leftovers: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(leftovers.len(), 1, "the copy has taken the file's place");
}

#[test]
fn an_existing_file_is_only_touched_when_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    std::fs::write(&path, "").unwrap();
    run_batch(&path, Existing::Refuse, 2, usize::MAX).unwrap();
    let error = run_batch(&path, Existing::Refuse, 2, usize::MAX).unwrap_err();
    assert!(matches!(error, OutputError::Exists { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("exists; go on with it by --resume, or start it anew by --overwrite")
    );
    run_batch(&path, Existing::Overwrite, 2, usize::MAX).unwrap();
    assert_eq!(results(&path).len() as u64, LINES);
}

#[test]
fn a_file_of_something_else_is_never_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for text in ["my notes", "{\"id\": 3}\n", "{\"custom_id\": \"a\"", "\n"] {
        std::fs::write(&path, text).unwrap();
        let error = run_batch(&path, RESUME, 2, usize::MAX).unwrap_err();
        assert!(matches!(error, OutputError::Foreign { line: 1, .. }), "{text:?}: {error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_second_run_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    run_batch(&path, Existing::Refuse, 2, usize::MAX).unwrap();
    // The first run has replaced the file, and still nobody else may write to it.
    let (mut first, _) =
        OutputFile::open(&path, Existing::Resume { retry_failed: true }, |_| true).unwrap();
    first.sync().unwrap();
    for existing in [Existing::Refuse, Existing::Overwrite, RESUME] {
        let error = OutputFile::open(&path, existing, |_| true).err().unwrap();
        assert!(error.to_string().ends_with("is being written by another run"), "{error}");
    }
}

#[test]
fn a_result_has_the_shape_of_openais() {
    let mut request = Defaults::default().request("id \"1\"", "Once");
    request.echo = true;
    request.prompt_logprobs = Some(3);
    let token = |text: &str, offset| ScoredToken {
        bytes: text.into(),
        logprob: -0.5,
        top: vec![(text.into(), -0.5), (vec![0xff], f32::NEG_INFINITY), (vec![0xfe], -20.0)],
        id: 1,
        top_ids: vec![1, 2, 3],
        offset,
        drafted: false,
    };
    let answer = Answer {
        text: " upon".into(),
        tokens: vec![1, 2, 3],
        finish: FinishReason::Stop,
        prompt_tokens: 4,
        shared_tokens: 2,
        loaded_tokens: 1,
        drafted_tokens: 5,
        accepted_tokens: 3,
        completion_tokens: 3,
        logprobs: Some(vec![token(" u", 0), ScoredToken { drafted: true, ..token("pon", 2) }]),
        prompt_logprobs: Some(vec![None, Some(token("n", 0))]),
        echo: None,
        prompt_time: std::time::Duration::from_millis(20),
        predicted_time: std::time::Duration::from_millis(8),
    };
    let context = ResultContext { model: "toy", created: 1_700_000_000, model_digest: None };
    let line = result_line(&request, &Ok(answer.clone()), &context);
    let found: Value = serde_json::from_str(&line).unwrap();
    let hash = found["id"].as_str().unwrap().strip_prefix("batch_req_").unwrap();
    let expected = serde_json::json!({
        "id": format!("batch_req_{hash}"),
        "custom_id": "id \"1\"",
        "response": {
            "status_code": 200,
            "request_id": format!("req_{hash}"),
            "body": {
                "id": format!("cmpl-{hash}"),
                "object": "text_completion",
                "created": 1_700_000_000,
                "model": "toy",
                "choices": [{
                    "index": 0,
                    "text": "Once upon",
                    "logprobs": {
                        "tokens": [" u", "pon"],
                        "token_logprobs": [-0.5, -0.5],
                        "top_logprobs": [
                            {" u": -0.5, "bytes:\\xff": -9999.0, "bytes:\\xfe": -20.0},
                            {"pon": -0.5, "bytes:\\xff": -9999.0, "bytes:\\xfe": -20.0},
                        ],
                        "text_offset": [4, 6],
                    },
                    "prompt_logprobs": [null, {
                        "token": "n",
                        "bytes": [110],
                        "logprob": -0.5,
                        "top_logprobs": [
                            {"token": "n", "bytes": [110], "logprob": -0.5},
                            {"token": "\u{fffd}", "bytes": [255], "logprob": -9999.0},
                            {"token": "\u{fffd}", "bytes": [254], "logprob": -20.0},
                        ],
                    }],
                    "finish_reason": "stop",
                }],
                "usage": {
                    "prompt_tokens": 4,
                    "completion_tokens": 3,
                    "total_tokens": 7,
                    "prompt_tokens_details": {"cached_tokens": 2, "loaded_tokens": 1},
                },
                "timings": {
                    "prompt_ms": 20.0,
                    "prompt_per_second": 100.0,
                    "predicted_ms": 8.0,
                    "predicted_per_second": 250.0,
                    "draft_n": 5,
                    "draft_n_accepted": 3,
                    "draft_accepted_at": [1],
                },
            },
        },
        "error": null,
    });
    assert_eq!(found, expected);

    request.endpoint = request::Endpoint::ChatCompletions;
    request.prompt = Prompt::Chat(Vec::new().into());
    let found: Value = serde_json::from_str(&result_line(&request, &Ok(answer), &context)).unwrap();
    let body = &found["response"]["body"];
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(
        body["choices"][0]["message"],
        serde_json::json!({"role": "assistant", "content": " upon"})
    );
    assert_eq!(
        body["choices"][0]["logprobs"]["content"][1]["bytes"],
        serde_json::json!([112, 111, 110])
    );

    let failure = Failure::PromptTooLong { prompt: 9, context: 8 };
    let found: Value =
        serde_json::from_str(&result_line(&request, &Err(failure), &context)).unwrap();
    assert!(found["response"].is_null());
    assert_eq!(
        found["error"],
        serde_json::json!({
            "code": "context_length_exceeded",
            "message": "the prompt has 9 tokens, and the context holds 8",
            "param": "prompt",
        })
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_and_a_closed_pipe_are_named() {
    let (mut full, _) = OutputFile::open("/dev/full".as_ref(), Existing::Refuse, |_| true).unwrap();
    let error = full.write_line("{}\n").unwrap_err();
    assert!(error.to_string().starts_with("cannot write results: No space left"), "{error}");
    assert!(!error.is_closed_pipe());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut closed = OutputFile::stream(writer);
    assert!(closed.write_line("{}\n").unwrap_err().is_closed_pipe());
}

#[cfg(unix)]
#[test]
fn results_of_a_file_that_is_taken_away_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let other = folder.path().join("other");
    let begin = || {
        let (mut output, _) = OutputFile::open(&path, Existing::Overwrite, |_| true).unwrap();
        output.write_line("{\"one\":1}\n").unwrap();
        output
    };
    // Replaced by a rename, and removed: the lines are put beside it.
    for number in 1..=2 {
        let mut output = begin();
        if number == 1 {
            std::fs::write(&other, "another's").unwrap();
            std::fs::rename(&other, &path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        let error = output.write_line("{\"two\":2}\n").unwrap_err().to_string();
        let kept = folder.path().join(format!("out.jsonl.kept-{number}"));
        assert!(error.contains(&kept.display().to_string()), "{error}");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "{\"one\":1}\n{\"two\":2}\n");
        assert!(number == 2 || std::fs::read_to_string(&path).unwrap() == "another's");
    }
    // Moved away: the lines go with it, also when it is noticed at the end only.
    let mut output = begin();
    std::fs::rename(&path, &other).unwrap();
    let error = output.sync().unwrap_err().to_string();
    assert!(error.contains("moved"), "{error}");
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "{\"one\":1}\n");
}
