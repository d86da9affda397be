//! Findings in the XML of Checkstyle, which code hosts and review tools read.

use std::io::{Result, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, Event};
use velo_lint::{FileReport, LineIndex};

use crate::format::{Format, Output};
use crate::uri::path;
use crate::xml::text;

/// The format.
pub const FORMAT: Format = Format { name: "checkstyle", about: "XML of Checkstyle", print };

/// The version of Checkstyle whose format it is.
const VERSION: &str = "10.0";

fn print(out: &mut dyn Write, reports: &[FileReport], output: &Output) -> Result<()> {
    let mut xml = Writer::new_with_indent(&mut *out, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("checkstyle").with_attribute(("version", VERSION)).write_inner_content(|xml| {
        for report in reports.iter().filter(|report| !report.findings.is_empty()) {
            let lines = LineIndex::new(&report.text);
            xml.create_element("file")
                .with_attribute(("name", &*text(&path(&report.name, &output.folder))))
                .write_inner_content(|xml| {
                    for finding in &report.findings {
                        let place = lines.position(finding.span.start);
                        let (line, column) = (place.line.to_string(), place.column.to_string());
                        let source = format!("velo.{}", finding.rule);
                        xml.create_element("error")
                            .with_attributes([
                                ("line", &*line),
                                ("column", &*column),
                                ("severity", finding.severity.word()),
                                ("message", &*text(&finding.message)),
                                ("source", &*source),
                            ])
                            .write_empty()?;
                    }
                    Ok(())
                })?;
        }
        Ok(())
    })?;
    writeln!(out)
}
