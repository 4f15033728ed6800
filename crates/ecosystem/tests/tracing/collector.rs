//! A subscriber that keeps all it is told, of all threads: the library's own take part in what a test does.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[derive(Debug)]
pub struct Span {
    pub name: &'static str,
    pub target: &'static str,
    pub fields: HashMap<&'static str, String>,
    pub parent: Option<u64>,
    pub follows: Option<u64>,
    handles: usize,
    metadata: &'static Metadata<'static>,
}

#[derive(Debug, Default)]
pub struct Collected {
    pub span: BTreeMap<u64, Span>,
    /// What happened to which span, in order; of events their words.
    log: Vec<(&'static str, u64, String)>,
    open: usize,
    pub most_open: usize,
}

impl Collected {
    pub fn named(&self, name: &str) -> Vec<u64> {
        self.span.iter().filter(|(_, span)| span.name == name).map(|(id, _)| *id).collect()
    }

    pub fn spans(&self, name: &str, kind: &str) -> Vec<u64> {
        let all = self.named(name).into_iter();
        all.filter(|id| self.span[id].fields.get("kind").is_some_and(|its| its == kind)).collect()
    }

    pub fn events(&self, span: u64) -> Vec<&str> {
        self.log.iter().filter(|entry| entry.0 == "event" && entry.1 == span).map(|entry| &entry.2[..]).collect()
    }

    pub fn place(&self, what: &str, span: u64) -> usize {
        self.log.iter().position(|entry| entry.0 == what && entry.1 == span).unwrap_or_else(|| panic!("no {what} of {span}"))
    }

    pub fn times(&self, what: &str, span: u64) -> usize {
        self.log.iter().filter(|entry| entry.0 == what && entry.1 == span).count()
    }
}

/// Runs `what`, waits until every span is closed, and gives what was told meanwhile. One at a time.
pub fn collect(what: impl FnOnce()) -> Collected {
    static ONE: Mutex<()> = Mutex::new(());
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    INSTALLED.get_or_init(|| tracing::subscriber::set_global_default(Collector).unwrap());
    assert_eq!(with(|now| now.open), 0);
    *NOW.lock().unwrap() = Some(Collected::default());
    what();
    let end = Instant::now() + Duration::from_secs(30);
    while with(|now| now.open) > 0 {
        assert!(Instant::now() < end, "spans stay open: {:#?}", NOW.lock().unwrap());
        std::thread::sleep(Duration::from_millis(1));
    }
    NOW.lock().unwrap().take().unwrap()
}

static NOW: Mutex<Option<Collected>> = Mutex::new(None);

fn with<T: Default>(f: impl FnOnce(&mut Collected) -> T) -> T {
    NOW.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_mut().map(f).unwrap_or_default()
}

thread_local! {
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn inside() -> Option<u64> {
    INSIDE.with_borrow(|inside| inside.last().copied())
}

#[derive(Default)]
struct Words {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }
}

struct Collector;

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("proactor::") || metadata.target() == "mine"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut words = Words::default();
        attributes.record(&mut words);
        let parent = match attributes.is_contextual() {
            true => inside(),
            false => attributes.parent().map(Id::into_u64),
        };
        let metadata = attributes.metadata();
        let (name, target) = (metadata.name(), metadata.target());
        let span = Span { name, target, fields: words.fields.into_iter().collect(), parent, follows: None, handles: 1, metadata };
        Id::from_u64(
            with(|now| {
                let id = now.span.len() as u64 + 1;
                // As a registry does: who has a child stays.
                if let Some(parent) = parent.and_then(|parent| now.span.get_mut(&parent)) {
                    parent.handles += 1;
                }
                now.span.insert(id, span);
                now.log.push(("new", id, String::new()));
                now.open += 1;
                now.most_open = now.most_open.max(now.open);
                id
            })
            .max(1),
        )
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        with(|now| {
            if let Some(span) = now.span.get_mut(&span.into_u64()) {
                span.follows = Some(follows.into_u64());
            }
        });
    }

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let mut text = words.message;
        for (name, value) in words.fields {
            match name {
                "micros" => assert!(value.parse::<u64>().unwrap() < 60_000_000, "{value} µs"),
                name => text += &format!(" {name}={value}"),
            }
        }
        let span = event.parent().map(Id::into_u64).or_else(inside);
        with(|now| now.log.push(("event", span.unwrap_or(0), text)));
    }

    fn enter(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
        with(|now| now.log.push(("enter", span.into_u64(), String::new())));
    }

    fn exit(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| assert_eq!(inside.pop(), Some(span.into_u64())));
        with(|now| now.log.push(("exit", span.into_u64(), String::new())));
    }

    fn clone_span(&self, id: &Id) -> Id {
        with(|now| now.span.get_mut(&id.into_u64()).map(|span| span.handles += 1));
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        with(|now| {
            let mut next = Some(id.into_u64());
            // Who closes lets go of its parent.
            while let Some(span) = next.and_then(|id| now.span.get_mut(&id)) {
                span.handles -= 1;
                if span.handles > 0 {
                    break;
                }
                (now.open, next) = (now.open - 1, span.parent);
            }
            next != Some(id.into_u64())
        })
    }

    fn current_span(&self) -> tracing_core::span::Current {
        match inside().and_then(|id| with(|now| now.span.get(&id).map(|span| (id, span.metadata)))) {
            Some((id, metadata)) => tracing_core::span::Current::new(Id::from_u64(id), metadata),
            None => tracing_core::span::Current::none(),
        }
    }
}
