//! What the results in an output file answer, beside what the run asks.

use std::collections::BTreeMap;
use std::path::Path;

use crate::app::cli::output::print_warning;
use crate::batch::InputFile;
use crate::batch::output::{FinishedLine, ResumeVerdict};
use crate::terminal::one_line;

/// How many ids a message names.
const NAMED: usize = 10;

/// Ids of results: the first of them, and how many there are.
#[derive(Debug, Default)]
struct Ids {
    first: Vec<String>,
    count: u64,
}

impl Ids {
    fn add(&mut self, id: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(one_line(id).to_string());
        }
    }

    fn named(&self) -> String {
        let more = self.count - self.first.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", self.first.join(", "))
    }
}

/// The results that are kept, by what they answer.
#[derive(Debug, Default)]
pub(super) struct KeptResults {
    /// Whether results of other requests are to go.
    retry_changed: bool,
    /// Results of other requests under the same ids.
    changed: Ids,
    /// Results by the digest of their model.
    models: BTreeMap<String, Ids>,
    /// Results without a digest, by the name of their model.
    named: BTreeMap<String, Ids>,
}

impl KeptResults {
    /// Nothing yet. With `retry_changed`, results of other requests are to go.
    pub fn new(retry_changed: bool) -> Self {
        Self { retry_changed, ..Self::default() }
    }

    /// Whether a line stays. Its request need not run again then.
    pub fn judge(&mut self, line: &FinishedLine, input: &mut InputFile) -> ResumeVerdict {
        let digest = input.digest(line.id).map(|digest| digest.hex());
        if let (Some((request, _)), Some(asked)) = (&line.answers, &digest)
            && request != asked
        {
            if self.retry_changed {
                // Not marked as finished, so that it runs.
                return ResumeVerdict::Again;
            }
            self.changed.add(&line.name);
        }
        if !input.mark_finished(line.id) {
            return ResumeVerdict::Stranger;
        }
        match (&line.answers, &line.model) {
            (Some((_, model)), _) => self.models.entry(model.clone()).or_default().add(&line.name),
            (None, Some(name)) => self.named.entry(name.clone()).or_default().add(&line.name),
            (None, None) => {}
        }
        ResumeVerdict::Keep
    }

    /// Refuses to go on where results answer something else.
    pub fn check(&self, path: &Path, model: &str, name: &str) -> anyhow::Result<()> {
        let path = one_line(&path.display().to_string()).to_string();
        anyhow::ensure!(
            self.changed.count == 0,
            "{path}: {} results answer other requests or options than these ids have now ({}); \
             run those again by --retry-changed, or give another --output",
            self.changed.count,
            self.changed.named()
        );
        if let Some((_, ids)) = self.models.iter().find(|(found, _)| *found != model) {
            anyhow::bail!(
                "{path}: {} results are of another model, or of one with other parts muted ({}); \
                 give another --output, or start anew by --overwrite",
                ids.count,
                ids.named()
            );
        }
        // A name is no proof of another model, so these are only told of.
        for (found, ids) in self.named.iter().filter(|(found, _)| *found != name) {
            print_warning(&format!(
                "{path}: {} results name another model, {}, and are kept ({})",
                ids.count,
                one_line(found),
                ids.named()
            ));
        }
        Ok(())
    }
}
