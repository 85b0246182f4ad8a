//! Where a run's requests come from: a file that is never late, or something that may have none
//! now and one in a moment.

use std::iter::Fuse;
use std::time::Duration;

use super::input::InputError;
use super::request::{LineProblems, Request};

/// What a source has to give.
#[derive(Debug)]
pub enum NextRequest {
    /// The next request. Boxed because it is large.
    Request(Box<Request>),
    /// Something that is no request, and is to have a result that says so.
    Refused(RefusedLine),
    /// What a person should hear of a request, which follows.
    Note(String),
    /// Nothing for now.
    NoneNow,
    /// Nothing any more.
    End,
}

/// A line that is no request, where lines are answered as they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLine {
    /// Its number, from 1.
    pub line: u64,
    /// The id, where it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub problems: LineProblems,
}

/// Gives a run its requests.
pub trait RequestSource {
    /// The next one. It may wait for one for as long as it is allowed, and had better not wait for
    /// longer than a moment: whoever asked looks at what may end the run, and asks again.
    ///
    /// # Errors
    /// The source cannot be read any more.
    fn next(&mut self, patience: Duration) -> Result<NextRequest, InputError>;

    /// The requests, by the order in which they were given from 0, that nobody waits for any more.
    /// Each is told once or more often; finished ones may be among them.
    fn abandoned(&mut self) -> Vec<u64> {
        Vec::new()
    }
}

/// Requests that are all there.
pub(crate) struct ListedRequests<I>(Fuse<I>);

impl<I: Iterator<Item = Result<Request, InputError>>> ListedRequests<I> {
    pub fn new(requests: impl IntoIterator<IntoIter = I>) -> Self {
        // It is asked again in every step, also after its end.
        Self(requests.into_iter().fuse())
    }
}

impl<I: Iterator<Item = Result<Request, InputError>>> RequestSource for ListedRequests<I> {
    fn next(&mut self, _: Duration) -> Result<NextRequest, InputError> {
        let next = self.0.next().transpose()?;
        Ok(next.map_or(NextRequest::End, |request| NextRequest::Request(Box::new(request))))
    }
}
