//! A TCP proxy between Kafka clients and one broker: frames in, the same frames out, except for the faults that a
//! test sets. It reads frame lengths, API keys and correlation ids only; no TLS.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Frames in the proxy per connection and direction; further ones stay with their sender.
const QUEUE_FRAMES: usize = 256;
const CHUNK_BYTES: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The kind of a request.
#[derive(Debug, Clone, Copy)]
#[repr(i16)]
#[allow(dead_code, reason = "the requests of consumers and producers, whether a test names them or not")]
pub(crate) enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    InitProducerId = 22,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
}

/// When a request is delivered late, and which ones count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late {
    /// The last byte of the requests that count; any if `None`.
    pub last_byte: Option<u8>,
    /// The kind of the request before which it arrives, and the number of that request, counted from the fault on.
    pub before: ApiKey,
    pub nth: u32,
}

/// The proxy. Any thread may set faults at any time; they apply to all connections, open and new.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1. Closes connections at once until [`connect_to`](Self::connect_to).
    pub(crate) fn bind() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let acceptor = Arc::clone(&shared);
        shared.state().threads.push(thread::spawn(move || acceptor.accept(&listener)));
        Self { shared, port }
    }

    /// Returns the port to advertise.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sets the broker's own address, `127.0.0.1:port`, for new connections.
    pub(crate) fn connect_to(&self, address: &str) {
        let broker: SocketAddr = address.parse().expect("an IP address and a port");
        self.shared.change(|state| state.broker = Some(broker));
    }

    /// Forwards requests of this kind, drops the broker's answers after reading them, and closes the connections:
    /// from the `nth` answer over all connections (the first is 1), `times` times.
    pub(crate) fn drop_answer(&self, key: ApiKey, nth: u32, times: u32) {
        self.shared.add(FrameRule::new(Direction::ToClient, key, nth, times));
    }

    /// Drops requests of this kind and closes the connections, counting as [`drop_answer`](Self::drop_answer).
    pub(crate) fn drop_request(&self, key: ApiKey, nth: u32, times: u32) {
        self.shared.add(FrameRule::new(Direction::ToBroker, key, nth, times));
    }

    /// Forwards half of an answer's bytes and closes the connection, counting as [`drop_answer`](Self::drop_answer).
    /// The client sees an orderly end (FIN): a reset needs `set_linger`, which is unstable.
    pub(crate) fn reset_mid_frame(&self, key: ApiKey, nth: u32, times: u32) {
        self.shared
            .add(FrameRule { fault: Fault::Half, ..FrameRule::new(Direction::ToClient, key, nth, times) });
    }

    /// Delivers the `nth` request of a kind late: the client's connection is closed at once, and the broker gets the
    /// request over another connection, right before the `late.nth` request of the kind `late.before` that follows.
    pub(crate) fn deliver_late(&self, key: ApiKey, nth: u32, late: Late) {
        let fault = Fault::Late { before: late.before as i16, passing: late.nth.saturating_sub(1) };
        let rule = FrameRule::new(Direction::ToBroker, key, nth, 1);
        self.shared.add(FrameRule { last_byte: late.last_byte, fault, ..rule });
    }

    /// Returns the number of late requests that a broker has answered.
    pub(crate) fn delivered_late(&self) -> u64 {
        self.shared.state().delivered
    }

    /// Waits until `count` frames have been dropped, halved or kept since the proxy was bound; their connections are closed
    /// right after. Returns false if `timeout` is over first.
    pub(crate) fn wait_dropped(&self, count: u64, timeout: Duration) -> bool {
        self.shared.wait_while(self.shared.state(), timeout, |state| state.dropped < count).dropped >= count
    }

    /// Delivers every frame `latency` after its arrival, in each direction and in order.
    pub(crate) fn latency(&self, latency: Duration) {
        self.shared.change(|state| state.rules.latency = latency);
    }

    /// Limits each direction of each connection; the least is 1 B/s.
    pub(crate) fn bandwidth(&self, bytes_per_s: usize) {
        self.shared.change(|state| state.rules.bandwidth = Some(bytes_per_s.max(1)));
    }

    /// Stops reading and writing; connections stay open and new ones are accepted. A frame that is being read is
    /// still read, and kept. Bytes flow again after [`heal`](Self::heal).
    pub(crate) fn half_open(&self) {
        self.shared.change(|state| state.rules.half_open = true);
    }

    /// Alternates between working for `up` and being [`cut`](Self::cut) for `down`, both longer than zero.
    pub(crate) fn flapping(&self, up: Duration, down: Duration) {
        let shared = Arc::clone(&self.shared);
        self.shared.change(|state| {
            state.epoch += 1;
            let epoch = state.epoch;
            state.threads.push(thread::spawn(move || shared.flap(epoch, up, down)));
        });
    }

    /// Closes all connections and refuses new ones until [`heal`](Self::heal).
    pub(crate) fn cut(&self) {
        self.shared.change(State::cut);
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.shared.change(|state| {
            state.epoch += 1;
            state.rules = Rules::default();
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.epoch += 1;
            state.stopped = true;
            state.cut();
        });
        // Wakes the thread that accepts. No thread is added after the cut, and those that end need the lock.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let threads = std::mem::take(&mut self.shared.state().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// The value is the index of the source in [`Connection::sockets`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToBroker = 0,
    ToClient = 1,
}

/// What becomes of a frame.
#[derive(Clone, Copy)]
enum Fault {
    /// Nothing of it is forwarded.
    Lost,
    /// Half of it is forwarded.
    Half,
    /// It reaches the broker right before a request of another kind, after so many of those have passed.
    Late { before: i16, passing: u32 },
}

struct FrameRule {
    kind: (Direction, i16),
    /// The last byte of the frames that count; any if `None`.
    last_byte: Option<u8>,
    fault: Fault,
    skip: u32,
    times: u32,
}

impl FrameRule {
    fn new(direction: Direction, key: ApiKey, nth: u32, times: u32) -> Self {
        let kind = (direction, key as i16);
        Self { kind, last_byte: None, fault: Fault::Lost, skip: nth.saturating_sub(1), times }
    }

    fn counts(&self, kind: (Direction, i16), frame: &[u8]) -> bool {
        self.kind == kind && self.last_byte.is_none_or(|byte| frame.last() == Some(&byte))
    }

    /// Counts a frame. Returns what becomes of it if the rule strikes.
    fn strike(&mut self) -> Option<Fault> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.fault)
    }
}

/// A request that is delivered late: right before a request of this kind, after so many have passed.
struct Kept {
    before: i16,
    passing: u32,
    request: Vec<u8>,
}

#[derive(Default)]
struct Rules {
    frames: Vec<FrameRule>,
    latency: Duration,
    bandwidth: Option<usize>,
    half_open: bool,
    cut: bool,
}

impl Rules {
    /// About 10 ms of the bandwidth.
    fn chunk_bytes(&self) -> usize {
        self.bandwidth.map_or(CHUNK_BYTES, |bandwidth| (bandwidth / 100).max(1))
    }

    fn transmission(&self, bytes: usize) -> Duration {
        let seconds = self.bandwidth.map_or(0.0, |bandwidth| bytes as f64 / bandwidth as f64);
        Duration::from_secs_f64(seconds)
    }
}

struct Connection {
    id: u64,
    /// The client's and the broker's.
    sockets: [TcpStream; 2],
    /// API keys by correlation id, of requests that have no answer yet.
    keys: Mutex<HashMap<i32, i16>>,
}

impl Connection {
    /// Returns the API key of a request, or of the request that an answer belongs to.
    fn key(&self, direction: Direction, frame: &[u8]) -> Option<i16> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if direction == Direction::ToClient {
            return keys.remove(&i32::from_be_bytes(*frame.get(4..)?.first_chunk()?));
        }
        let key = i16::from_be_bytes(*frame.get(4..)?.first_chunk()?);
        keys.insert(i32::from_be_bytes(*frame.get(8..)?.first_chunk()?), key);
        Some(key)
    }

    /// Ends all reads and writes. An error means that the peer was faster.
    fn close(&self) {
        self.sockets.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    }
}

#[derive(Default)]
struct State {
    rules: Rules,
    broker: Option<SocketAddr>,
    open: HashMap<u64, Arc<Connection>>,
    accepted: u64,
    dropped: u64,
    kept: Vec<Kept>,
    delivered: u64,
    /// Flapping ends with the epoch that it began in.
    epoch: u64,
    stopped: bool,
    threads: Vec<JoinHandle<()>>,
}

impl State {
    fn cut(&mut self) {
        self.rules.cut = true;
        self.open.drain().for_each(|(_, connection)| connection.close());
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn add(&self, rule: FrameRule) {
        self.change(|state| state.rules.frames.push(rule));
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        time: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, time, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until the connection may go on under the current rules, or returns an error if it has been closed.
    fn wait(&self, connection: &Connection, left: impl Fn(&Rules) -> Duration) -> io::Result<()> {
        let mut state = self.state();
        while state.open.contains_key(&connection.id) {
            let time = if state.rules.half_open { Duration::MAX } else { left(&state.rules) };
            if time.is_zero() {
                return Ok(());
            }
            state = self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn flap(&self, epoch: u64, up: Duration, down: Duration) {
        let mut is_up = false;
        let mut state = self.state();
        while state.epoch == epoch {
            is_up = !is_up;
            if is_up {
                state.rules.cut = false;
            } else {
                state.cut();
            }
            self.changed.notify_all();
            state = self.wait_while(state, if is_up { up } else { down }, |state| state.epoch == epoch);
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            let state = self.state();
            let (stopped, broker) = (state.stopped, state.broker.filter(|_| !state.rules.cut));
            drop(state);
            if stopped {
                return;
            }
            if let (Ok(client), Some(broker)) = (client, broker) {
                // An error ends this connection only.
                let _ = self.connect(client, broker);
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream, broker: SocketAddr) -> io::Result<()> {
        let broker = TcpStream::connect_timeout(&broker, CONNECT_TIMEOUT)?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let mut state = self.state();
        if state.rules.cut {
            return Ok(());
        }
        state.accepted += 1;
        let (id, sockets) = (state.accepted, [client, broker]);
        let connection = Arc::new(Connection { id, sockets, keys: Mutex::default() });
        state.threads.retain(|thread| !thread.is_finished());
        for direction in [Direction::ToBroker, Direction::ToClient] {
            state.threads.extend(self.start(&connection, direction));
        }
        state.open.insert(id, connection);
        Ok(())
    }

    /// Starts a thread that reads frames into a queue and one that writes each of them when it is due.
    fn start(self: &Arc<Self>, connection: &Arc<Connection>, direction: Direction) -> [JoinHandle<()>; 2] {
        let (sender, receiver) = mpsc::sync_channel(QUEUE_FRAMES);
        let (shared, source) = (Arc::clone(self), Arc::clone(connection));
        let reader = thread::spawn(move || drop(shared.read(&source, direction, &sender)));
        let (shared, target) = (Arc::clone(self), Arc::clone(connection));
        let writer = thread::spawn(move || {
            let _ = shared.write(&target, direction, &receiver);
            shared.change(|state| drop(state.open.remove(&target.id)));
            target.close();
        });
        [reader, writer]
    }

    /// Reads until the source ends or a rule strikes; the writer closes the connection after the queue's last frame.
    fn read(
        &self,
        connection: &Connection,
        direction: Direction,
        queue: &SyncSender<Queued>,
    ) -> io::Result<()> {
        loop {
            self.wait(connection, |_| Duration::ZERO)?;
            let mut frame = read_frame(&connection.sockets[direction as usize])?;
            let key = connection.key(direction, &frame);
            if let Some(key) = key.filter(|_| direction == Direction::ToBroker) {
                self.deliver_before(key);
            }
            let struck = key.and_then(|key| self.strike((direction, key), &mut frame));
            if queue.send((Instant::now(), frame)).is_err() || struck.is_some() {
                return Ok(());
            }
        }
    }

    /// Counts a frame for all rules of its kind. If one strikes, leaves what is forwarded now in the frame.
    fn strike(&self, kind: (Direction, i16), frame: &mut Vec<u8>) -> Option<Fault> {
        let mut state = self.state();
        let rules = state.rules.frames.iter_mut().filter(|rule| rule.counts(kind, frame));
        let faults: Vec<_> = rules.filter_map(FrameRule::strike).collect();
        let fault = *faults.first()?;
        match fault {
            Fault::Lost => frame.clear(),
            Fault::Half => frame.truncate(frame.len() / 2),
            Fault::Late { before, passing } => {
                state.kept.push(Kept { before, passing, request: std::mem::take(frame) });
            }
        }
        state.dropped += 1;
        self.changed.notify_all();
        Some(fault)
    }

    /// Delivers the requests that were kept for this moment, and waits for the broker's answers.
    fn deliver_before(&self, key: i16) {
        let mut state = self.state();
        let mut due = Vec::new();
        for kept in state.kept.extract_if(.., |kept| kept.before == key && kept.passing == 0) {
            due.push(kept.request);
        }
        for kept in state.kept.iter_mut().filter(|kept| kept.before == key) {
            kept.passing -= 1;
        }
        let Some(broker) = state.broker else { return };
        drop(state);
        for request in due {
            // What cannot be delivered is not counted.
            let delivered = deliver(broker, &request).is_ok();
            self.state().delivered += u64::from(delivered);
        }
    }

    fn write(
        &self,
        connection: &Connection,
        direction: Direction,
        queue: &Receiver<Queued>,
    ) -> io::Result<()> {
        let mut target = &connection.sockets[1 - direction as usize];
        for (arrived, frame) in queue {
            self.wait(connection, |rules| rules.latency.saturating_sub(arrived.elapsed()))?;
            let chunk_bytes = self.state().rules.chunk_bytes();
            for chunk in frame.chunks(chunk_bytes) {
                let begun = Instant::now();
                self.wait(connection, |rules| {
                    rules.transmission(chunk.len()).saturating_sub(begun.elapsed())
                })?;
                target.write_all(chunk)?;
            }
        }
        Ok(())
    }
}

/// A frame and when it arrived.
type Queued = (Instant, Vec<u8>);

/// Sends a request over a connection of its own and waits for the answer.
fn deliver(broker: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut broker = TcpStream::connect_timeout(&broker, CONNECT_TIMEOUT)?;
    broker.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    broker.write_all(request)?;
    read_frame(&broker)
}

/// Reads a frame, which begins with its length.
fn read_frame(mut source: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    let bytes = usize::try_from(i32::from_be_bytes(length)).map_err(|_| ErrorKind::InvalidData)?;
    let mut frame = length.to_vec();
    frame.resize(4 + bytes, 0);
    source.read_exact(&mut frame[4..])?;
    Ok(frame)
}

/// Long enough for everything that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("small");
    [&length.to_be_bytes()[..], body].concat()
}

fn request(key: ApiKey, id: i32) -> Vec<u8> {
    frame(&[&(key as i16).to_be_bytes()[..], &[0, 9], &id.to_be_bytes(), &[7; 100]].concat())
}

/// The fake broker's answer: the correlation id and the rest of the request.
fn answer(request: &[u8]) -> Vec<u8> {
    frame(&request[8..])
}

/// A proxy before a fake broker, and the requests that the broker has seen. The broker lasts as long as the process.
fn fake() -> (Proxy, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let proxy = Proxy::bind();
    proxy.connect_to(&listener.local_addr().expect("an address").to_string());
    let (sender, seen) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.expect("a connection"), sender.clone());
            thread::spawn(move || {
                while let Ok(request) = read_frame(&stream) {
                    let answer = answer(&request);
                    let _ = sender.send(request);
                    let _ = stream.write_all(&answer);
                }
            });
        }
    });
    (proxy, seen)
}

fn client(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("accepted");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client
}

/// Sends requests at once, then reads their answers, which must be the right ones.
fn ask(mut client: &TcpStream, key: ApiKey, ids: Range<i32>) -> io::Result<()> {
    for id in ids.clone() {
        client.write_all(&request(key, id))?;
    }
    for id in ids {
        assert_eq!(read_frame(client)?, answer(&request(key, id)));
    }
    Ok(())
}

/// Reads until the end of the stream.
fn rest(mut client: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = client.read_to_end(&mut bytes);
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    bytes
}

#[test]
fn frames_pass_unchanged_and_in_order() {
    let (proxy, seen) = fake();
    ask(&client(&proxy), ApiKey::Fetch, 0..200).expect("answers");
    assert!((0..200).all(|id| seen.recv_timeout(PATIENCE) == Ok(request(ApiKey::Fetch, id))));
}

#[test]
fn connections_are_closed_while_the_broker_is_unknown() {
    let proxy = Proxy::bind();
    assert!(rest(&client(&proxy)).is_empty());
}

#[test]
fn the_nth_answer_of_a_kind_is_dropped_after_the_broker_has_seen_its_request() {
    let (proxy, seen) = fake();
    proxy.drop_answer(ApiKey::Produce, 2, 1);
    let first = client(&proxy);
    ask(&first, ApiKey::Produce, 0..1).expect("an answer");
    ask(&first, ApiKey::Metadata, 1..3).expect("answers");
    assert!(!proxy.wait_dropped(1, Duration::ZERO));
    ask(&first, ApiKey::Produce, 3..4).expect_err("a closed connection");
    assert!(proxy.wait_dropped(1, PATIENCE));
    assert_eq!(seen.try_iter().last(), Some(request(ApiKey::Produce, 3)));
    ask(&client(&proxy), ApiKey::Produce, 4..6).expect("answers");
}

#[test]
fn a_dropped_request_does_not_reach_the_broker_and_half_an_answer_is_half_an_answer() {
    let (proxy, seen) = fake();
    proxy.drop_request(ApiKey::EndTxn, 1, 1);
    ask(&client(&proxy), ApiKey::EndTxn, 0..1).expect_err("a closed connection");
    proxy.reset_mid_frame(ApiKey::EndTxn, 1, 1);
    let (mut second, sent) = (client(&proxy), request(ApiKey::EndTxn, 1));
    second.write_all(&sent).expect("sent");
    let answer = answer(&sent);
    assert_eq!(rest(&second), answer[..answer.len() / 2]);
    assert!(proxy.wait_dropped(2, PATIENCE));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [sent]);
}

#[test]
fn a_late_request_reaches_the_broker_right_before_another_kind() {
    let (proxy, seen) = fake();
    let late = Late { last_byte: Some(7), before: ApiKey::AddOffsetsToTxn, nth: 2 };
    proxy.deliver_late(ApiKey::EndTxn, 1, late);
    ask(&client(&proxy), ApiKey::EndTxn, 0..1).expect_err("a closed connection");
    let again = client(&proxy);
    ask(&again, ApiKey::EndTxn, 1..2).expect("an answer");
    ask(&again, ApiKey::AddOffsetsToTxn, 2..3).expect("an answer");
    ask(&again, ApiKey::AddOffsetsToTxn, 3..5).expect("answers");
    let repetition = request(ApiKey::EndTxn, 1);
    let [first, second, third] = [2, 3, 4].map(|id| request(ApiKey::AddOffsetsToTxn, id));
    let all = [repetition, first, request(ApiKey::EndTxn, 0), second, third];
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), all);
    assert_eq!(proxy.delivered_late(), 1);
}

#[test]
fn a_half_open_proxy_delivers_what_it_held_when_it_is_healed() {
    let (proxy, seen) = fake();
    let mut old = client(&proxy);
    ask(&old, ApiKey::Fetch, 0..1).expect("an answer");
    seen.recv_timeout(PATIENCE).expect("a request");
    proxy.half_open();
    let mut new = client(&proxy);
    let held = request(ApiKey::Fetch, 1);
    old.write_all(&held).expect("sent");
    new.write_all(&held).expect("sent");
    assert!(seen.recv_timeout(Duration::from_millis(50)).is_err());
    proxy.heal();
    assert_eq!(read_frame(&old).expect("an answer"), answer(&held));
    assert_eq!(read_frame(&new).expect("an answer"), answer(&held));
}

#[test]
fn a_cut_closes_and_refuses_connections_until_the_proxy_is_healed() {
    let (proxy, _seen) = fake();
    let old = client(&proxy);
    ask(&old, ApiKey::Fetch, 0..1).expect("an answer");
    proxy.cut();
    assert!(rest(&old).is_empty());
    assert!(rest(&client(&proxy)).is_empty());
    proxy.heal();
    ask(&client(&proxy), ApiKey::Fetch, 0..1).expect("an answer");
}

#[test]
fn a_flapping_proxy_comes_and_goes() {
    let (proxy, _seen) = fake();
    proxy.flapping(Duration::from_millis(20), Duration::from_millis(20));
    for _ in 0..2 {
        while ask(&client(&proxy), ApiKey::Fetch, 0..1).is_err() {}
        assert!(rest(&client(&proxy)).is_empty());
    }
    proxy.heal();
    ask(&client(&proxy), ApiKey::Fetch, 0..100).expect("answers");
}

#[test]
fn latency_and_bandwidth_delay_frames() {
    let (proxy, _seen) = fake();
    let client = client(&proxy);
    let begun = Instant::now();
    proxy.latency(Duration::from_millis(50));
    ask(&client, ApiKey::Fetch, 0..200).expect("answers");
    assert!(begun.elapsed() >= Duration::from_millis(100));
    proxy.heal();
    let begun = Instant::now();
    proxy.bandwidth(10 * request(ApiKey::Fetch, 0).len());
    ask(&client, ApiKey::Fetch, 0..2).expect("answers");
    assert!(begun.elapsed() >= Duration::from_millis(200));
}
