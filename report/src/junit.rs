//! Findings as failed tests in the XML of `JUnit`, which most CI systems show. A file without findings is a test that
//! has passed.

use std::io::{Result, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use velo_lint::{FileReport, Finding, LineIndex};

use crate::format::{Format, Output};
use crate::uri::path;
use crate::xml::text;

/// The format.
pub const FORMAT: Format = Format { name: "junit", about: "XML of JUnit: a failed test a finding", print };

fn print(out: &mut dyn Write, reports: &[FileReport], output: &Output) -> Result<()> {
    let mut xml = Writer::new_with_indent(&mut *out, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let count = |of: fn(&FileReport) -> usize| reports.iter().map(of).sum::<usize>().to_string();
    let (tests, failures) =
        (count(|report| report.findings.len().max(1)), count(|report| report.findings.len()));
    xml.create_element("testsuites")
        .with_attributes([("name", "velo lint"), ("tests", &*tests), ("failures", &*failures)])
        .write_inner_content(|xml| {
            for report in reports {
                suite(xml, report, &text(&path(&report.name, &output.folder)))?;
            }
            Ok(())
        })?;
    writeln!(out)
}

fn suite<W: Write>(xml: &mut Writer<W>, report: &FileReport, path: &str) -> Result<()> {
    let lines = LineIndex::new(&report.text);
    let (tests, failures) = (report.findings.len().max(1).to_string(), report.findings.len().to_string());
    xml.create_element("testsuite")
        .with_attributes([("name", path), ("tests", &*tests), ("failures", &*failures)])
        .write_inner_content(|xml| {
            if report.findings.is_empty() {
                xml.create_element("testcase")
                    .with_attributes([("name", path), ("classname", path)])
                    .write_empty()?;
            }
            for finding in &report.findings {
                case(xml, finding, &lines, path)?;
            }
            Ok(())
        })?;
    Ok(())
}

fn case<W: Write>(xml: &mut Writer<W>, finding: &Finding, lines: &LineIndex, path: &str) -> Result<()> {
    let place = lines.position(finding.span.start);
    let line = place.line.to_string();
    let message = text(&finding.message);
    let whole = format!("{path}:{}:{}: {message}", place.line, place.column);
    xml.create_element("testcase")
        .with_attributes([
            ("name", &*format!("{} ({}:{})", finding.rule, place.line, place.column)),
            ("classname", path),
            ("file", path),
            ("line", &*line),
        ])
        .write_inner_content(|xml| {
            xml.create_element("failure")
                .with_attributes([("message", &*message), ("type", finding.severity.word())])
                .write_text_content(BytesText::new(&whole))?;
            Ok(())
        })?;
    Ok(())
}
