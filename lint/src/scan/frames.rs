//! The brackets that are open at a place of a statement, and what may stand there: a source, a column, a
//! common table expression. Words and brackets in; whether the next name is a source out.

use rustc_hash::FxHashMap as HashMap;

/// What a pair of brackets, or the statement itself, holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// A statement or a query.
    #[default]
    Query,
    /// Sources: `FROM (a JOIN b …)`. A query if a `SELECT` follows.
    Sources,
    /// Anything else: arguments, columns, an expression. A query if a `SELECT` follows.
    Arguments,
}

/// How much of a common table expression has been read: `WITH name [(columns)] AS (query) [, …]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Cte {
    #[default]
    None,
    /// `WITH`, or a comma after a query.
    Name,
    /// The name.
    Named(String),
    /// `AS`.
    Body(String),
    /// The query.
    After,
}

#[derive(Debug, Default)]
struct Frame {
    kind: Kind,
    /// True if a source comes next.
    awaits_source: bool,
    /// True within the list of sources, where a comma is followed by another one.
    in_from: bool,
    cte: Cte,
    is_recursive: bool,
    /// The common table expression whose query this is.
    defines: Option<String>,
    /// The common table expressions that can be named until these brackets close.
    ctes: Vec<String>,
}

/// Functions that take a source as their first argument: the windows of streaming dialects, and `STREAM(orders)`.
const OVER_SOURCES: &[&str] = &["tumble", "hop", "cumulate", "session", "stream"];

/// Words that end a list of sources.
const AFTER_SOURCES: &[&str] = &[
    "where",
    "by",
    "having",
    "window",
    "qualify",
    "limit",
    "offset",
    "fetch",
    "union",
    "except",
    "intersect",
    "minus",
    "emit",
    "set",
    "settings",
    "returning",
    "view",
    "prewhere",
    "update",
    "values",
];

/// A statement and the brackets that are open in it.
#[derive(Debug, Default)]
pub(super) struct Frames {
    statement: Frame,
    brackets: Vec<Frame>,
    /// How many definitions of a common table expression are visible, by name in lower case.
    visible: HashMap<String, usize>,
    /// True if the next bracket opens the arguments of one of [`OVER_SOURCES`].
    opens_over_source: bool,
}

impl Frames {
    /// How many brackets are open.
    pub(super) fn depth(&self) -> usize {
        self.brackets.len()
    }

    fn top(&mut self) -> &mut Frame {
        self.brackets.last_mut().unwrap_or(&mut self.statement)
    }

    /// Reads `(`.
    pub(super) fn open(&mut self) {
        let opens_over_source = std::mem::take(&mut self.opens_over_source);
        let top = self.top();
        let mut frame = Frame { kind: Kind::Arguments, awaits_source: opens_over_source, ..Frame::default() };
        match std::mem::take(&mut top.cte) {
            Cte::Body(name) => {
                frame.kind = Kind::Query;
                let is_recursive = top.is_recursive;
                frame.defines = Some(name.clone());
                if is_recursive {
                    self.define(name);
                }
            }
            // The columns of a common table expression.
            cte @ Cte::Named(_) => top.cte = cte,
            _ if top.awaits_source => {
                top.awaits_source = false;
                frame = Frame { kind: Kind::Sources, awaits_source: true, in_from: true, ..Frame::default() };
            }
            _ => {}
        }
        self.brackets.push(frame);
    }

    /// Reads `)`.
    pub(super) fn close(&mut self) {
        let Some(frame) = self.brackets.pop() else { return };
        for name in &frame.ctes {
            if let Some(count) = self.visible.get_mut(name) {
                *count -= 1;
            }
        }
        if let Some(name) = frame.defines {
            if !self.top().is_recursive {
                self.define(name);
            }
            self.top().cte = Cte::After;
        }
    }

    /// Makes a common table expression visible until the brackets around it close.
    fn define(&mut self, name: String) {
        *self.visible.entry(name.clone()).or_default() += 1;
        self.top().ctes.push(name);
    }

    /// Reads `,`.
    pub(super) fn comma(&mut self) {
        let top = self.top();
        if top.cte == Cte::After {
            top.cte = Cte::Name;
        } else {
            top.awaits_source = top.in_from;
        }
    }

    /// Reads any other symbol.
    pub(super) fn symbol(&mut self) {
        let top = self.top();
        top.awaits_source = false;
        top.cte = Cte::None;
    }

    /// Reads `WITH` before common table expressions.
    pub(super) fn with(&mut self) {
        let top = self.top();
        (top.cte, top.is_recursive) = (Cte::Name, false);
    }

    /// Reads a word of a common table expression; false if it is none.
    pub(super) fn cte_word(&mut self, word: &str) -> bool {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        let top = self.top();
        match &top.cte {
            Cte::None => return false,
            Cte::Name if is("recursive") => top.is_recursive = true,
            Cte::Name => top.cte = Cte::Named(word.to_lowercase()),
            Cte::Named(name) if is("as") => top.cte = Cte::Body(name.clone()),
            Cte::Body(_) if is("not") || is("materialized") => {}
            Cte::Named(_) | Cte::Body(_) | Cte::After => {
                top.cte = Cte::None;
                return false;
            }
        }
        true
    }

    /// Reads a text in quotes, which may be the name of a common table expression.
    pub(super) fn quoted(&mut self, text: &str) {
        let top = self.top();
        top.cte = match top.cte {
            Cte::Name => Cte::Named(text.to_lowercase()),
            _ => Cte::None,
        };
    }

    /// Whether a source comes next.
    pub(super) fn awaits_source(&self) -> bool {
        self.brackets.last().unwrap_or(&self.statement).awaits_source
    }

    /// The next name is no source after all, or has been read.
    pub(super) fn source_done(&mut self) {
        self.top().awaits_source = false;
    }

    /// What awaited a source is a call of `function`.
    pub(super) fn calls(&mut self, function: &str) {
        self.source_done();
        self.opens_over_source = OVER_SOURCES.iter().any(|known| function.eq_ignore_ascii_case(known));
    }

    /// Whether a name is that of a common table expression.
    pub(super) fn is_cte(&self, name: &str) -> bool {
        !self.visible.is_empty() && self.visible.get(&name.to_lowercase()).is_some_and(|count| *count > 0)
    }

    /// Reads `SELECT`: what the brackets hold is a query.
    pub(super) fn select(&mut self) {
        let top = self.top();
        (top.kind, top.awaits_source, top.in_from) = (Kind::Query, false, false);
    }

    /// Reads `FROM` or `JOIN`, which are a function's own in its arguments: `EXTRACT(HOUR FROM ts)`.
    pub(super) fn from(&mut self) {
        let top = self.top();
        if top.kind != Kind::Arguments {
            (top.awaits_source, top.in_from) = (true, true);
        }
    }

    /// Reads `TABLE`, which in arguments stands before a source.
    pub(super) fn table(&mut self) {
        let is_nested = self.depth() > 0;
        let top = self.top();
        top.awaits_source |= is_nested && top.kind == Kind::Arguments;
    }

    /// Whether `INTO` names a sink here.
    pub(super) fn takes_into(&mut self) -> bool {
        let top = self.top();
        (top.awaits_source, top.in_from) = (false, false);
        top.kind == Kind::Query
    }

    /// Reads a word that may end the list of sources.
    pub(super) fn other_word(&mut self, word: &str) {
        if self.top().in_from && AFTER_SOURCES.iter().any(|end| word.eq_ignore_ascii_case(end)) {
            self.top().in_from = false;
        }
    }
}
