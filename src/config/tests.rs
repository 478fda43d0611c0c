//! Whole config files.

mod accepted;
mod flags;
mod journal;
mod reference;
mod refused;
mod secrets;
mod support;

use std::fs;

use super::*;
use crate::model::units::{ByteSize, GoDuration};

const CLIENT: &str = "clients: [{url: 'http://loki:3100/loki/api/v1/push'}]\n";

struct Case {
    request: Request,
    text: String,
}

impl Case {
    fn new(text: &str) -> Self {
        Self { request: Request::default(), text: text.to_string() }
    }

    fn with(mut self, flag: &'static str, key: &'static str, value: Scalar) -> Self {
        self.request.settings.push(Setting { flag, key, value });
        self
    }

    fn load(mut self) -> Result<(Config, Warnings), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("f.yaml");
        fs::write(&file, &self.text).expect("a file");
        self.request.files = file.display().to_string();
        let short = |text: String| text.replace(&self.request.files, "f.yaml");
        let env = |name: &str| (name == "TENANT").then(|| "acme".to_string());
        let loaded = Config::load(&self.request, &env).map_err(|e| short(e.to_string()))?;
        let warnings = check(&loaded).map_err(|e| short(e.to_string()))?;
        Ok((loaded.config, warnings.into_iter().map(short).collect()))
    }

    fn refused(self) -> String {
        let text = self.text.clone();
        self.load().expect_err(&text)
    }
}

fn refused(text: &str) -> String {
    Case::new(text).refused()
}

fn accepted(text: &str) -> (Config, Warnings) {
    Case::new(text).load().expect(text)
}
