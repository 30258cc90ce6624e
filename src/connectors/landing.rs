//! A folder that streams are landed in, as they came: compressed JSON Lines, a file a stream and run, and a manifest.
//!
//! A file appears under its name when it is whole; the manifest names it afterwards. So whoever reads the folder
//! meets whole files only, and reads those that the manifest names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const MANIFEST: &str = "manifest.json";

/// What stands in the folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub streams: BTreeMap<String, Landed>,
}

/// One stream's files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Landed {
    /// Everything changed up to here is in the files.
    pub watermark: Option<DateTime<Utc>>,
    /// In the order in which they came: a later row of a record replaces an earlier one.
    pub files: Vec<LandedFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LandedFile {
    /// Below the folder.
    pub path: String,
    pub rows: u64,
    /// Holds every record there was; earlier files are superseded.
    pub whole: bool,
}

/// A folder, and the run that lands in it.
pub struct Landing {
    folder: PathBuf,
    run: String,
    manifest: Manifest,
}

/// A file being written.
pub struct LandingFile {
    stream: String,
    name: String,
    part: PathBuf,
    writer: GzEncoder<BufWriter<File>>,
    rows: u64,
}

impl Landing {
    /// Opens the replication's folder, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be written, or its manifest cannot be read.
    pub fn open(folder: &Path, replication: &str, run: &str) -> io::Result<Self> {
        let folder = folder.join(replication);
        fs::create_dir_all(&folder)?;
        let manifest = match fs::read(folder.join(MANIFEST)) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Manifest::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { folder, run: run.to_owned(), manifest })
    }

    /// Up to when a stream has been landed.
    pub fn watermark(&self, stream: &str) -> Option<DateTime<Utc>> {
        self.manifest.streams.get(stream)?.watermark
    }

    /// Begins a stream's file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self, stream: &str) -> io::Result<LandingFile> {
        // A module's name may hold what no file's may.
        let safe: String = stream
            .chars()
            .map(
                |char| if char.is_alphanumeric() || matches!(char, '_' | '-') { char } else { '_' },
            )
            .collect();
        let name = format!("{safe}/{}.jsonl.gz", self.run);
        let part = self.folder.join(format!("{name}.part"));
        fs::create_dir_all(self.folder.join(&safe))?;
        let writer = GzEncoder::new(BufWriter::new(File::create(&part)?), Compression::fast());
        Ok(LandingFile { stream: stream.to_owned(), name, part, writer, rows: 0 })
    }

    /// Puts a finished file under its name and into the manifest; an empty one is left out.
    ///
    /// # Errors
    /// When it cannot be written to its end.
    pub fn end(
        &mut self,
        file: LandingFile,
        whole: bool,
        watermark: Option<DateTime<Utc>>,
    ) -> io::Result<()> {
        let LandingFile { stream, name, part, writer, rows } = file;
        let mut buffer = writer.finish()?;
        buffer.flush()?;
        buffer.get_ref().sync_all()?;
        if rows == 0 && !whole {
            fs::remove_file(&part)?;
        } else {
            fs::rename(&part, self.folder.join(&name))?;
        }
        let landed = self.manifest.streams.entry(stream).or_default();
        landed.watermark = watermark;
        if rows > 0 || whole {
            landed.files.push(LandedFile { path: name, rows, whole });
        }
        self.finish()
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&self) -> io::Result<()> {
        let part = self.folder.join(format!("{MANIFEST}.part"));
        fs::write(&part, serde_json::to_vec_pretty(&self.manifest)?)?;
        fs::rename(part, self.folder.join(MANIFEST))
    }
}

impl LandingFile {
    /// Adds a page, a record a line; answers how many.
    ///
    /// # Errors
    /// When the page is no array of records, or the file cannot be written.
    pub fn append(&mut self, page: &[u8]) -> io::Result<u64> {
        let records: Vec<&RawValue> = serde_json::from_slice(page)?;
        for record in &records {
            // Line breaks stand between values only: JSON escapes them within a text.
            for part in record.get().split(['\n', '\r']) {
                self.writer.write_all(part.as_bytes())?;
            }
            self.writer.write_all(b"\n")?;
        }
        self.rows += records.len() as u64;
        Ok(records.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn lines(path: &Path) -> String {
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn given_pages_when_landed_then_whole_files_stand_in_the_manifest_and_broken_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = DateTime::from_timestamp(1_700_000_000, 0);
        let mut landing = Landing::open(folder.path(), "crm", "run-1").unwrap();
        let mut file = landing.begin("deals").unwrap();
        file.append(b"[{\"id\":1,\n \"t\":\"a\\nb\"},{\"id\":2}]").unwrap();
        landing.end(file, true, at).unwrap();
        let mut broken = landing.begin("notes").unwrap();
        broken.append(b"[{\"id\":1}]").unwrap();
        assert!(broken.append(b"{}").is_err());
        drop(broken);

        let again = Landing::open(folder.path(), "crm", "run-2").unwrap();

        assert_eq!(again.watermark("deals"), at);
        assert_eq!(again.manifest.streams.keys().collect::<Vec<_>>(), ["deals"]);
        let landed = &again.manifest.streams["deals"].files[0];
        let expected = LandedFile { path: "deals/run-1.jsonl.gz".into(), rows: 2, whole: true };
        assert_eq!(*landed, expected);
        let text = lines(&folder.path().join("crm").join(&landed.path));
        assert_eq!(text, "{\"id\":1, \"t\":\"a\\nb\"}\n{\"id\":2}\n");
    }
}
