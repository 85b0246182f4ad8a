//! Lines that are answered as they come: standard input with `--follow`.
//!
//! A thread of its own reads and parses them, so that the run never waits for a line while
//! something runs.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use super::input::{InputError, InputLines};
use super::request::{Defaults, Parsed, id_of_bad_line, parse_line};
use super::source::{NextRequest, RefusedLine, RequestSource};

/// How many lines are read ahead of the slots. What waits beyond is in the pipe.
const READ_AHEAD: usize = 64;

/// How many names of fields without effect are told.
const MOST_NOTES: usize = 64;

/// How long a run that has nothing to do waits until it looks whether it was interrupted.
const WAIT: Duration = Duration::from_millis(50);

/// The lines of a stream, each a request as soon as it is whole.
#[derive(Debug)]
pub struct FollowedLines {
    lines: Receiver<Result<NextRequest, InputError>>,
    ended: bool,
}

impl FollowedLines {
    /// Begins to read a stream on a thread of its own, which ends with the stream, or with the
    /// first line that nobody takes.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(
        name: String,
        stream: impl BufRead + Send + 'static,
        defaults: Defaults,
    ) -> std::io::Result<Self> {
        let (sender, lines) = sync_channel(READ_AHEAD);
        let read = move || read_lines(name, stream, &defaults, &sender);
        std::thread::Builder::new().name("requests".into()).spawn(read)?;
        Ok(Self { lines, ended: false })
    }
}

fn read_lines(
    name: String,
    stream: impl BufRead,
    defaults: &Defaults,
    sender: &SyncSender<Result<NextRequest, InputError>>,
) {
    let mut lines = InputLines::new(stream);
    let mut told = BTreeSet::new();
    loop {
        let next = match lines.next() {
            Ok(None) => return,
            Ok(Some((_, line, text))) => {
                if matches!(text, Ok(text) if text.trim_ascii().is_empty()) {
                    continue;
                }
                let id = text.as_ref().ok().copied().and_then(id_of_bad_line);
                Ok(match text.and_then(|text| parse_line(text, defaults)) {
                    Ok(Parsed { request, ignored, .. }) => {
                        // Each name once, and no more of them than a person reads.
                        for name in ignored {
                            if told.len() < MOST_NOTES && told.insert(name.clone()) {
                                let note = format!("`{name}` has no effect here (line {line})");
                                if sender.send(Ok(NextRequest::Note(note))).is_err() {
                                    return;
                                }
                            }
                        }
                        NextRequest::Request(Box::new(request))
                    }
                    Err(problems) => NextRequest::Refused(RefusedLine { line, id, problems }),
                })
            }
            Err(source) => Err(InputError::Read { name: name.clone(), source }),
        };
        let failed = next.is_err();
        // Whoever took them may have ended.
        if sender.send(next).is_err() || failed {
            return;
        }
    }
}

impl RequestSource for FollowedLines {
    fn next(&mut self, patience: Duration) -> Result<NextRequest, InputError> {
        if self.ended {
            return Ok(NextRequest::End);
        }
        let next = if patience > Duration::ZERO {
            self.lines.recv_timeout(patience.min(WAIT))
        } else {
            self.lines.try_recv().map_err(|error| match error {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            })
        };
        match next {
            Ok(next) => next,
            Err(RecvTimeoutError::Timeout) => Ok(NextRequest::NoneNow),
            Err(RecvTimeoutError::Disconnected) => {
                self.ended = true;
                Ok(NextRequest::End)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_order_and_bad_ones_are_refused_by_number_and_id() {
        let text =
            "{\"id\":\"a\",\"prompt\":\"x\"}\n\nrubbish\n{\"id\":\"b\",\"n\":0,\"prompt\":\"\"}\n";
        let mut lines =
            FollowedLines::new("in".into(), text.as_bytes(), Defaults::default()).unwrap();
        let mut next = || loop {
            match lines.next(WAIT).unwrap() {
                NextRequest::NoneNow => {}
                next => return next,
            }
        };
        assert!(matches!(next(), NextRequest::Request(request) if request.id == "a"));
        let refused = |next| match next {
            NextRequest::Refused(refused) => (refused.line, refused.id),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(next()), (3, None));
        assert_eq!(refused(next()), (4, Some("b".to_owned())));
        assert!(matches!(next(), NextRequest::End));
        assert!(matches!(next(), NextRequest::End));
    }
}
