//! CSV and JSON Lines, zipped or not, as rows and back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crmsync_core::files::{neutralize, restore};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// What a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    JsonLines,
}

/// One row: cells by their column's name, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Counted from 1, the header included.
    pub line: u64,
    pub cells: Vec<(Arc<str>, String)>,
}

impl Row {
    pub fn cell(&self, name: &str) -> Option<&str> {
        self.cells.iter().find(|(column, _)| &**column == name).map(|(_, cell)| cell.as_str())
    }
}

/// A row that cannot be read, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct BadRow {
    /// As far as it could be read.
    pub row: Row,
    /// Name or number of the column; empty when the row as a whole is meant.
    pub column: String,
    pub reason: String,
}

/// Rows of a file.
pub struct Rows {
    inner: Inner,
    /// Unpacks a zip meanwhile; what it says at the end counts.
    unpacking: Option<JoinHandle<io::Result<()>>>,
}

enum Inner {
    Csv { reader: Box<csv::Reader<Box<dyn BufRead + Send>>>, header: Vec<Arc<str>>, is_crlf: bool },
    JsonLines { reader: Box<dyn BufRead + Send>, line: u64 },
}

impl Rows {
    /// Opens a file, or stdin for `-`. What it is, is told by its first bytes.
    ///
    /// # Errors
    /// When it cannot be read, or has no header.
    pub fn open(path: &Path) -> io::Result<Self> {
        let source: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path)?)
        };
        let mut reader: Box<dyn BufRead + Send> =
            Box::new(BufReader::with_capacity(1 << 16, source));
        if !reader.fill_buf()?.starts_with(b"PK\x03\x04") {
            return Self::of(reader, None);
        }
        // An entry borrows its archive, so it is unpacked by a thread of its own into a pipe.
        let (unpacked, mut packed) = io::pipe()?;
        let path = path.to_owned();
        let unpacking = std::thread::spawn(move || {
            if path == Path::new("-") {
                let entry =
                    zip::read::read_zipfile_from_stream(&mut reader).map_err(io::Error::other)?;
                let mut entry = entry.ok_or_else(|| io::Error::other("the zip is empty"))?;
                return io::copy(&mut entry, &mut packed).map(|_| ());
            }
            let mut archive = ZipArchive::new(File::open(path)?).map_err(io::Error::other)?;
            let mut entry = archive.by_index(0).map_err(io::Error::other)?;
            io::copy(&mut entry, &mut packed).map(|_| ())
        });
        Self::of(Box::new(BufReader::new(unpacked)), Some(unpacking))
    }

    fn of(
        mut reader: Box<dyn BufRead + Send>,
        unpacking: Option<JoinHandle<io::Result<()>>>,
    ) -> io::Result<Self> {
        if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        let head = reader.fill_buf()?;
        let inner = if head.trim_ascii_start().first() == Some(&b'{') {
            Inner::JsonLines { reader, line: 0 }
        } else {
            let (delimiter, is_crlf) = (delimiter(head), ends_in_crlf(head));
            let mut reader = Box::new(
                csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(reader),
            );
            let header: Vec<Arc<str>> =
                reader.headers()?.iter().map(|name| name.trim().into()).collect();
            if let Some(twice) = header
                .iter()
                .enumerate()
                .find_map(|(at, name)| header[..at].contains(name).then_some(name))
            {
                return Err(io::Error::other(format!(
                    "the header names the column `{twice}` twice"
                )));
            }
            Inner::Csv { reader, header, is_crlf }
        };
        Ok(Self { inner, unpacking })
    }

    /// The columns that the header names; none for JSON Lines.
    pub fn header(&self) -> &[Arc<str>] {
        match &self.inner {
            Inner::Csv { header, .. } => header,
            Inner::JsonLines { .. } => &[],
        }
    }

    /// The next row; a bad one does not end the file.
    ///
    /// # Errors
    /// When the file cannot be read to its end.
    pub fn read_next(&mut self) -> io::Result<Option<Result<Row, BadRow>>> {
        let next = match &mut self.inner {
            Inner::Csv { reader, header, is_crlf } => next_csv(reader, header, *is_crlf)?,
            Inner::JsonLines { reader, line } => next_json(reader.as_mut(), line)?,
        };
        if next.is_none()
            && let Some(unpacking) = self.unpacking.take()
        {
            unpacking.join().map_err(|_| io::Error::other("the zip could not be unpacked"))??;
        }
        Ok(next)
    }
}

/// The first line says which of the three usual ones it is.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| line.split(|byte| *byte == delimiter).count();
    [b',', b';', b'\t'].into_iter().max_by_key(|one| (count(*one), *one == b',')).unwrap_or(b',')
}

/// Whether lines end in CR LF. The reader then counts a line only with the next row, so its rows stand one further on.
fn ends_in_crlf(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r"))
}

fn next_csv(
    reader: &mut csv::Reader<Box<dyn BufRead + Send>>,
    header: &[Arc<str>],
    is_crlf: bool,
) -> io::Result<Option<Result<Row, BadRow>>> {
    let mut record = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        return Ok(None);
    }
    let line = record.position().map_or(0, csv::Position::line) + u64::from(is_crlf);
    let mut row = Row { line, cells: Vec::with_capacity(header.len()) };
    let mut wrong = None;
    for (at, bytes) in record.iter().enumerate() {
        let name = header.get(at).cloned().unwrap_or_else(|| format!("_extra{}", at + 1).into());
        let text = if let Ok(text) = std::str::from_utf8(bytes) {
            restore(text).to_owned()
        } else {
            wrong = wrong.or(Some((name.to_string(), "is no UTF-8 text".to_owned())));
            String::from_utf8_lossy(bytes).into_owned()
        };
        row.cells.push((name, text));
    }
    if record.len() != header.len() {
        let reason = format!("the row has {} cells, the header {}", record.len(), header.len());
        wrong = wrong.or(Some((String::new(), reason)));
        row.cells
            .extend(header.iter().skip(record.len()).map(|name| (Arc::clone(name), String::new())));
    }
    Ok(Some(match wrong {
        Some((column, reason)) => Err(BadRow { row, column, reason }),
        None => Ok(row),
    }))
}

fn next_json(reader: &mut dyn BufRead, line: &mut u64) -> io::Result<Option<Result<Row, BadRow>>> {
    loop {
        let mut bytes = Vec::new();
        if reader.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        *line += 1;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let bad = |reason: String| BadRow {
            row: Row { line: *line, cells: Vec::new() },
            column: String::new(),
            reason,
        };
        let object: Result<serde_json::Map<String, serde_json::Value>, _> =
            serde_json::from_slice(&bytes);
        return Ok(Some(match object {
            Ok(object) => {
                let cells = object.into_iter().map(|(name, value)| (name.into(), cell(&value)));
                Ok(Row { line: *line, cells: cells.collect() })
            }
            Err(error) => Err(bad(format!("is no JSON object: column {}", error.column()))),
        }));
    }
}

/// A JSON value as a cell; lists with semicolons, as in CSV.
fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => {
            let items =
                items.iter().map(|item| cell(item).replace('\\', "\\\\").replace(';', "\\;"));
            items.collect::<Vec<_>>().join(";")
        }
        serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Object(_) => value.to_string(),
    }
}

/// A file being written, which gets its name when it is whole.
pub struct Sink {
    inner: Out,
    format: Format,
    /// Cells that a spreadsheet would run get a quote.
    guards: bool,
    columns: Vec<String>,
    part: Option<(PathBuf, PathBuf)>,
}

enum Out {
    Plain(BufWriter<Box<dyn Write + Send>>),
    Zip(Box<ZipWriter<BufWriter<File>>>),
}

fn plain(out: Box<dyn Write + Send>) -> Out {
    Out::Plain(BufWriter::with_capacity(1 << 16, out))
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Zip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Zip(out) => out.flush(),
        }
    }
}

impl Sink {
    /// Makes a file, or writes to stdout for `-`: by its ending CSV, JSON Lines (`.jsonl`) or a zip of one of them
    /// (`deals.csv.zip`, `deals.zip`).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(
        path: &Path,
        format: Option<Format>,
        columns: Vec<String>,
        guards: bool,
    ) -> io::Result<Self> {
        let name =
            path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let unzipped = name.strip_suffix(".zip");
        let (is_zip, inner_name) = (unzipped.is_some(), unzipped.unwrap_or(&name));
        let is_json =
            [".jsonl", ".ndjson", ".json"].iter().any(|ending| inner_name.ends_with(ending));
        let format = format.unwrap_or(if is_json { Format::JsonLines } else { Format::Csv });
        let is_stdout = path == Path::new("-");
        let part = (!is_stdout).then(|| {
            let mut part = path.as_os_str().to_owned();
            part.push(".part");
            (PathBuf::from(part), path.to_owned())
        });
        let inner = match &part {
            Some((part, _)) if is_zip => {
                let mut zip =
                    ZipWriter::new(BufWriter::with_capacity(1 << 16, File::create(part)?));
                let ending = if format == Format::Csv { ".csv" } else { ".jsonl" };
                let known = inner_name.ends_with(ending) || is_json;
                let entry =
                    if known { inner_name.to_owned() } else { format!("{inner_name}{ending}") };
                let options = SimpleFileOptions::default().large_file(true);
                zip.start_file(entry, options).map_err(io::Error::other)?;
                Out::Zip(Box::new(zip))
            }
            Some((part, _)) => plain(Box::new(File::create(part)?)),
            None => plain(Box::new(io::stdout())),
        };
        let mut sink = Self { inner, format, guards, columns, part };
        if sink.format == Format::Csv {
            let header: Vec<_> = sink.columns.clone();
            sink.line(&header)?;
        }
        Ok(sink)
    }

    /// Adds a row: cells in the order of the columns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, cells: &[String]) -> io::Result<()> {
        if self.format == Format::Csv {
            return self.line(cells);
        }
        let object: serde_json::Map<String, serde_json::Value> = self
            .columns
            .iter()
            .zip(cells)
            .map(|(name, cell)| {
                let value =
                    if cell.is_empty() { serde_json::Value::Null } else { cell.as_str().into() };
                (name.clone(), value)
            })
            .collect();
        serde_json::to_writer(&mut self.inner, &object)?;
        self.inner.write_all(b"\n")
    }

    fn line(&mut self, cells: &[String]) -> io::Result<()> {
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                self.inner.write_all(b",")?;
            }
            let guarded;
            let cell = if self.guards && cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) {
                guarded = neutralize(cell);
                &guarded
            } else {
                cell
            };
            if cell.contains(['"', ',', '\n', '\r', ';']) || cell.trim() != cell {
                self.inner.write_all(b"\"")?;
                self.inner.write_all(cell.replace('"', "\"\"").as_bytes())?;
                self.inner.write_all(b"\"")?;
            } else {
                self.inner.write_all(cell.as_bytes())?;
            }
        }
        self.inner.write_all(b"\r\n")
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// When it cannot be written to its end.
    pub fn finish(self) -> io::Result<()> {
        match self.inner {
            Out::Plain(mut out) => out.flush()?,
            Out::Zip(zip) => zip.finish().map_err(io::Error::other)?.flush()?,
        }
        match self.part {
            Some((part, path)) => std::fs::rename(part, path),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Result<Row, BadRow>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let mut rows = Rows::open(&path).unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.read_next().unwrap() {
            all.push(row);
        }
        all
    }

    fn row(line: u64, cells: &[(&str, &str)]) -> Row {
        let cells = cells.iter().map(|(name, cell)| ((*name).into(), (*cell).to_owned()));
        Row { line, cells: cells.collect() }
    }

    #[test]
    fn given_files_of_other_programs_when_read_then_marks_delimiters_and_quotes_are_understood() {
        let expected = [Ok(row(2, &[("name", "Ada; \"A\""), ("note", "=1+1")]))];

        assert_eq!(read("\u{feff}name,note\r\n\"Ada; \"\"A\"\"\",'=1+1\r\n".as_bytes()), expected);
        assert_eq!(read(b"name;note\n\"Ada; \"\"A\"\"\";'=1+1\n"), expected);
        assert_eq!(read(b"name\tnote\nAda; \"A\"\t'=1+1\n"), expected);
    }

    #[test]
    fn given_json_lines_when_read_then_lists_and_nulls_are_cells() {
        let rows = read(b"{\"a\":[\"x;y\",2],\"b\":null}\n\n{\"a\":true}\n[1]\n");

        assert_eq!(rows[0], Ok(row(1, &[("a", "x\\;y;2"), ("b", "")])));
        assert_eq!(rows[1], Ok(row(3, &[("a", "true")])));
        assert_eq!(rows[2].as_ref().unwrap_err().row.line, 4);
    }

    #[test]
    fn given_bad_rows_when_read_then_each_is_told_with_its_place_and_the_file_goes_on() {
        let rows = read(b"a,b\n1\n2,3,4\n\xff,5\n6,7\n");

        let told: Vec<_> = rows
            .iter()
            .filter_map(|row| row.as_ref().err())
            .map(|bad| format!("{} {} {}", bad.row.line, bad.column, bad.reason))
            .collect();
        let expected = [
            "2  the row has 1 cells, the header 2",
            "3  the row has 3 cells, the header 2",
            "4 a is no UTF-8 text",
        ];
        assert_eq!(told, expected);
        assert_eq!(rows[3], Ok(row(5, &[("a", "6"), ("b", "7")])));
    }

    #[test]
    fn given_rows_when_written_and_read_then_they_are_the_same_zipped_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let cells = ["=SUM(A1)", "a \"b\",\r\nc", " x ", "-5"].map(str::to_owned);
        for name in ["f.csv", "f.jsonl", "f.zip", "f.csv.zip", "f.jsonl.zip"] {
            let path = folder.path().join(name);
            let columns = ["p", "q", "r", "s"].map(str::to_owned).to_vec();
            let mut sink = Sink::create(&path, None, columns, true).unwrap();
            sink.add(&cells).unwrap();
            assert!(!path.exists());
            sink.finish().unwrap();

            let mut rows = Rows::open(&path).unwrap();
            let row = rows.read_next().unwrap().unwrap().unwrap();

            let read: Vec<_> = row.cells.into_iter().map(|(_, cell)| cell).collect();
            assert_eq!(read, cells, "{name}");
            assert!(rows.read_next().unwrap().is_none());
        }
        let text = std::fs::read_to_string(folder.path().join("f.csv")).unwrap();
        assert!(text.contains("'=SUM(A1)"), "{text}");
    }

    #[test]
    fn given_a_zip_that_breaks_off_when_read_then_it_is_an_error_not_a_short_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.zip");
        let mut sink = Sink::create(&path, None, vec!["a".into()], true).unwrap();
        for number in 0..20_000 {
            sink.add(&[format!("row {number} {}", number * 7919 % 1013)]).unwrap();
        }
        sink.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();

        let mut rows = Rows::open(&path).unwrap();
        let ended = loop {
            match rows.read_next() {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };

        assert!(ended.is_err());
    }
}
