//! An edge: fed by the node above it over a link, and feeding others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::object::Publish as _;
use aqueduct_edge::Store;
use aqueduct_edge::relay::Hub;
use aqueduct_edge::relay::feed::{Feed, Message, Parcel, Room};
use aqueduct_edge::relay::receive::{Receiver, Step};
use aqueduct_edge::relay::window::Window;
use aqueduct_edge::relay::wire::{Frame, What as Carried};
use aqueduct_tests::random::Random;

use crate::plan::{Edge, Micros, Plan, SECOND, What};

/// Objects under way at once, of what is live and of what was before.
const LIVE: usize = 24;
const HISTORY: usize = 12;
/// What a slow link adds.
const SLOW: Micros = SECOND / 2;

/// The edge.
pub struct Node {
    index: usize,
    link: Edge,
    random: Random,
    name: StreamName,
    feed: Feed,
    receiver: Receiver,
    pub store: Store,
    pub hub: Hub,
    /// With when they arrive.
    objects: Vec<(Micros, Parcel)>,
    frames: VecDeque<(Micros, Frame)>,
    lines: Vec<String>,
    is_up: bool,
    /// The life of the origin that it was last connected in.
    life: u64,
    instant: Instant,
}

impl Node {
    pub fn new(index: usize, plan: &Plan) -> Self {
        Self {
            index,
            link: plan.edges[index].clone(),
            random: Random::new(plan.seed.wrapping_mul(31) + index as u64),
            name: "live/show".parse().unwrap(),
            feed: Feed::new(1),
            receiver: Receiver::default(),
            store: Store::new(),
            hub: Hub::new(),
            objects: Vec::new(),
            frames: VecDeque::new(),
            lines: vec![String::new()],
            is_up: false,
            life: 0,
            instant: Instant::now(),
        }
    }

    /// Somebody here, or below, asks for a path: its line is wanted from now on.
    pub fn asked(&mut self, path: &str, window: Option<&Window>) {
        let line = path.rsplit_once('/').map_or("", |(line, _)| line);
        if !self.lines.iter().any(|known| known == line) {
            self.lines.push(line.to_owned());
            let (epoch, have) = self.receiver.want(line);
            self.feed.want(line, epoch, &have, window);
        }
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Lets time pass on the link above: what is due arrives, and what there is is sent.
    pub fn turn(&mut self, plan: &Plan, now: Micros, life: u64, window: Option<&Window>) {
        let cut = plan.is(What::Cut(self.index), now);
        let direct = self.link.above.is_none();
        let above_is_down = direct && plan.is(What::Restart, now);
        if cut || above_is_down {
            self.is_up = false;
            self.objects.clear();
            self.frames.clear();
        } else if !self.is_up || (direct && self.life != life) {
            (self.is_up, self.life) = (true, life);
            self.connect(window);
        }
        if self.is_up {
            self.deliver(plan, now);
            self.send(plan, now, window);
        }
        if now.is_multiple_of(SECOND) {
            let seconds = now / SECOND;
            self.store.sweep(self.instant + Duration::from_secs(seconds), seconds);
        }
    }

    fn connect(&mut self, window: Option<&Window>) {
        (self.feed, self.objects, self.frames) = (Feed::new(1), Vec::new(), VecDeque::new());
        for line in &self.lines {
            let (epoch, have) = self.receiver.want(line);
            self.feed.want(line, epoch, &have, window);
        }
    }

    fn send(&mut self, plan: &Plan, now: Micros, window: Option<&Window>) {
        loop {
            let under_way = self.objects.len();
            let room = Room { live: under_way < LIVE, history: under_way < HISTORY };
            match self.feed.next(window, room) {
                Some(Message::Frame(frame)) => {
                    let due = self.arrival(plan, now).max(self.frames.back().map_or(0, |(due, _)| *due));
                    self.frames.push_back((due, frame));
                }
                Some(Message::Object(parcel)) => {
                    self.feed.written(&parcel.head.line);
                    let due = self.arrival(plan, now);
                    self.objects.push((due, *parcel));
                }
                None => return,
            }
        }
    }

    fn arrival(&mut self, plan: &Plan, now: Micros) -> Micros {
        let slow = if plan.is(What::Slow(self.index), now) { SLOW } else { 0 };
        now + self.link.delay + self.random.below(self.link.jitter + 1) + slow
    }

    fn deliver(&mut self, plan: &Plan, now: Micros) {
        while self.frames.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, frame)) = self.frames.pop_front() else { break };
            let steps = self.receiver.frame(&frame, true);
            self.carry_out(steps);
        }
        while let Some(at) = self.objects.iter().position(|(due, _)| *due <= now) {
            let (_, parcel) = self.objects.remove(at);
            if let Carried::Media(media) = &parcel.head.what
                && plan.is(What::Loss(self.index), now)
                && self.random.below(12) == 0
            {
                self.feed.failed(&parcel.head.line, parcel.head.epoch, media.seq);
                continue;
            }
            let steps = self.receiver.object(&parcel.head, parcel.body.concat().into(), true);
            self.carry_out(steps);
        }
    }

    fn carry_out(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.hub.relay(&self.name, &step);
            step.updates().into_iter().for_each(|update| self.store.publish(&self.name, update));
        }
    }
}
