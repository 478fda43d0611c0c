//! Jobs with a kind of target that Promtail has and fantail has not. All of them are refused at once, or left out if the
//! config allows it.

use super::OptionsConfig;
use super::scrape::unsupported;
use crate::model::KeyPath;
use crate::yaml::{Content, Document, Error};

/// A job that is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedJob {
    /// Its name, or its place in the list if it has none.
    pub name: String,
    /// Its kinds of targets that are not supported, and what to use instead.
    pub reason: String,
}

/// Refuses all unsupported jobs with one error, or takes them out and adds a warning for each. A kind without a value
/// is not there.
pub(super) fn take_out(document: &mut Document, warnings: &mut Vec<Error>) -> Result<Vec<SkippedJob>, Error> {
    let options = match document.root_mut().get_mut("options") {
        Some(_) => document.read_at::<OptionsConfig>(&KeyPath::key("options"))?,
        None => OptionsConfig::default(),
    };
    let Some(jobs) = document.root_mut().get_mut("scrape_configs") else { return Ok(Vec::new()) };
    let Content::List(jobs) = &mut jobs.content else { return Ok(Vec::new()) };
    let (mut skipped, mut problems, mut unsupported_at) = (Vec::new(), Vec::new(), Vec::new());
    for (i, job) in jobs.iter_mut().enumerate() {
        let name = job.get_mut("job_name").map(|name| name.raw.clone()).filter(|name| !name.is_empty());
        let Content::Map(entries) = &mut job.content else { continue };
        entries.retain(|(key, value)| value.content != Content::Null || unsupported(key).is_none());
        let kinds: Vec<(&String, String)> =
            entries.iter().filter_map(|(key, _)| Some((key, unsupported(key)?))).collect();
        if kinds.is_empty() {
            continue;
        }
        unsupported_at.push(i);
        let path = |key: &str| KeyPath::from(format!("scrape_configs[{i}].{key}").as_str());
        problems.extend(kinds.iter().map(|(key, message)| (path(key), message.clone())));
        let reasons: Vec<String> = kinds.into_iter().map(|(_, message)| message).collect();
        let name = name.unwrap_or_else(|| format!("scrape_configs[{i}]"));
        skipped.push(SkippedJob { name, reason: reasons.join("; ") });
    }
    let others = jobs.len() - skipped.len();
    if problems.is_empty() {
        return Ok(skipped);
    }
    if !options.skip_unsupported_jobs {
        let errors = problems.into_iter().map(|(path, message)| document.error(&path, message)).collect();
        let advice = format!(
            "{others} other jobs of this config can run: -config.skip-unsupported-jobs, or options.skip_unsupported_jobs: true, \
             starts the agent without the jobs named above"
        );
        return Err(Error::all(errors, (others > 0).then_some(advice)));
    }
    let note = |(path, message)| document.note(&path, format!("this job is not run: {message}"));
    warnings.extend(problems.into_iter().map(note));
    if let Some(Content::List(jobs)) = document.root_mut().get_mut("scrape_configs").map(|jobs| &mut jobs.content) {
        let mut at = 0..;
        jobs.retain(|_| at.next().is_none_or(|i| !unsupported_at.contains(&i)));
    }
    Ok(skipped)
}
