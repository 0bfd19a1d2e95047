//! EXPLAIN of queries whose rows are on several shards: weir's own plan, and inside it what each server
//! says of its part. With ANALYZE every part is run once, and nothing is sent to the client but the plan.
//!
//! - `page`: the plan as text or JSON · `writes`: writes
//!
//! It takes the same steps as the query would, in the same order: a place among those that gather, one
//! moment of all shards, the shards' connections, the gather database's.
mod page;
mod writes;

use super::gather::Site;
use super::merged::{columns, formats};
use super::place::Place;
use super::several::Asked;
use super::together::{Tells, Wording};
use super::{Protocol, Session, Stop};
use crate::error::{Error, SqlState};
use crate::exec::fan_out::{Binding, Heard, NO_PARAMETERS, Which};
use crate::exec::gather::Meter;
use crate::exec::relay::Show;
use crate::ids::{Oid, ShardId};
use crate::plan::several::{
    Count, Direction, Fragment, Gather, Merge, Rows, Several, Template, Ties,
};
use crate::plan::{Command, Planned, Route};
use crate::sql::explained::{Explained, Format};
use crate::txn::Status;
use crate::wire::encode;
use crate::wire::params::Params;
use crate::wire::server::{DataRow, Field, RowDescription};
pub(super) use page::Told;
use page::{Node, actual_rows};
use std::time::Instant;

/// An EXPLAIN that is being answered.
struct Explaining<'e> {
    explained: &'e Explained,
    format: Format,
    /// Bytes of servers' plans that may still come.
    room: usize,
}

impl Session {
    /// The plan of an explained query whose rows may be on several shards. `None`: the EXPLAIN goes the way
    /// of other statements.
    pub(super) fn explains(&mut self, explained: &Explained) -> Option<Planned> {
        let planned = self.database.planner.borrow_mut().plan(&explained.query, &self.context());
        planned.ok().filter(|planned| {
            let plan = &planned.plan;
            let on_several = plan.several.is_some() || plan.scattered.is_some();
            plan.command == Command::Query && on_several
        })
    }

    /// In the simple protocol.
    pub(super) async fn explain_several(
        &mut self,
        explained: &Explained,
        planned: &Planned,
    ) -> Result<(), Stop> {
        self.begin_budget(planned);
        self.refuse_if_failed(None)?;
        self.check_asked(planned)?;
        self.explain_whole(
            &Asked {
                text: &explained.query,
                planned,
                types: &[],
                values: &[],
                parameters: NO_PARAMETERS,
                results: &[],
                batch: Some(0),
                name: "weir_all",
                portal: None,
                shift: self.edit.as_ref().map_or(0, |edit| edit.shift),
                moment: None,
                statement: None,
            },
            explained,
        )
        .await
    }

    /// Description, rows and tag.
    pub(super) async fn explain_whole(
        &mut self,
        asked: &Asked<'_>,
        explained: &Explained,
    ) -> Result<(), Stop> {
        let alone = self.protocol == Protocol::Simple && self.txn.status() == Status::Idle;
        let told = self.explain(asked, explained).await?;
        let type_oid = match explained.format() {
            Some(Format::Json) => Oid(114),
            Some(Format::Text) | None => Oid(25),
        };
        let output = &mut self.client.output;
        encode::row_description(&[Field { type_oid, ..Field::text("QUERY PLAN") }], output);
        for row in &told {
            encode::data_row(&[Some(row)], output);
        }
        if alone && explained.runs() && asked.planned.plan.scattered.is_some() {
            // As in PostgreSQL, what the commit finds comes in the place of the tag.
            self.commit(Show::Swallow).await?;
        }
        self.complete("EXPLAIN")
    }

    /// The rows of the answer.
    pub(super) async fn explain(
        &mut self,
        asked: &Asked<'_>,
        explained: &Explained,
    ) -> Result<Told, Stop> {
        self.foresee(self.shape_of(asked.planned, Route::Many))?;
        let Some(format) = explained.format() else {
            return Err(Error::refused(
                "the plan of a query over several shards is told as text or JSON",
                "use FORMAT TEXT or FORMAT JSON",
            )
            .into());
        };
        if explained.is_generic() {
            return Err(Error::refused(
                "a generic plan of a query over several shards",
                "leave GENERIC_PLAN out and give the parameters values",
            )
            .into());
        }
        let room = self.database.limits.merge_bytes;
        let mut explaining = Explaining { explained, format, room };
        let root = self.explain_strategy(asked, &mut explaining).await?;
        Ok(root.rows(format, self.encoding()))
    }

    /// The same choice as if the query were run: see `Session::begin_answer`.
    async fn explain_strategy(
        &mut self,
        asked: &Asked<'_>,
        explaining: &mut Explaining<'_>,
    ) -> Result<Node, Stop> {
        let plan = asked.planned.plan.clone();
        if let Some(scattered) = plan.scattered.as_deref() {
            return self.explain_scattered(asked, scattered, explaining).await;
        }
        let Some(several @ Several { merge, gather, tells_time, settings: _ }) =
            plan.several.as_deref()
        else {
            return Err(Error::internal("a query of several shards without a strategy").into());
        };
        self.check_constants(several, asked)?;
        let fresh = self.txn.participants.is_empty();
        let place = match (merge, gather) {
            (Err(_), Ok(_)) => Place::Taken(self.place(asked.planned).await?),
            (Ok(_), _) | (Err(_), Err(_)) => Place::Open { fresh },
        };
        self.take_snapshot(&self.asked_shards(asked)?).await?;
        let moment = if *tells_time { Some(self.moment(asked).await?) } else { None };
        let asked = &Asked { moment: moment.as_ref(), ..*asked };
        let unmerged = match merge {
            Err(unmerged) => unmerged.why(),
            Ok(merge) => match self.explain_merge(asked, merge, explaining).await? {
                Some(node) => return Ok(node),
                None => "weir does not compare or combine values of these types exactly",
            },
        };
        let gather = self.gatherable(gather)?;
        let outcome = self.explain_gather(asked, gather, place, unmerged, explaining).await;
        if let Err(Stop::Say(_) | Stop::Said) = &outcome {
            self.release_gather().await?;
        }
        outcome
    }

    fn asked_shards(&self, asked: &Asked<'_>) -> Result<Vec<ShardId>, Error> {
        let params = Params { types: asked.types, values: asked.values };
        Ok(asked.planned.shards(asked.text, &params, &self.serving.rules)?)
    }

    /// `None`: weir cannot compare or combine these types exactly.
    async fn explain_merge(
        &mut self,
        asked: &Asked<'_>,
        merge: &Merge,
        explaining: &mut Explaining<'_>,
    ) -> Result<Option<Node>, Stop> {
        let bounds = self.bounds(asked, merge)?;
        let shards = self.asked_shards(asked)?;
        let sites = self.site_all(&shards, asked.planned).await?;
        let wording = Wording::new(&merge.query, asked);
        let mut fan = self.fan_out(asked.name, &sites, &wording, asked.types);
        fan.close(&mut self.txn.participants);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await?;
        let described = fan.description(0).cloned().unwrap_or_default();
        let types = columns(&described, &formats(&[], &described, merge.hidden)?);
        if self.merger(merge, &types, &sites, bounds).is_none() {
            return Ok(None);
        }
        let began = Instant::now();
        let query = &wording.sent.text;
        let text = explaining.explained.about(query);
        let plans = self.plans(asked, &sites, text, Tells::Shard, explaining).await?;
        let took = began.elapsed();
        let mut root = Node::new("Weir Merge");
        unite(&mut root, merge, &described);
        let rows: Option<Vec<u64>> =
            plans.iter().map(|plan| actual_rows(plan, explaining.format)).collect();
        if let Some(rows) = rows.filter(|_| explaining.explained.runs()) {
            root.number("Rows From Shards", rows.iter().sum());
        }
        if explaining.explained.tells_time() {
            root.time("Time", took);
        }
        self.tell_tasks(&mut root, query, &shards, plans);
        Ok(Some(root))
    }

    async fn explain_gather(
        &mut self,
        asked: &Asked<'_>,
        gather: &Gather,
        place: Place,
        unmerged: &str,
        explaining: &mut Explaining<'_>,
    ) -> Result<Node, Stop> {
        let runs = explaining.explained.runs();
        self.limit_time();
        let places = self.place_for(asked, place).await?;
        let reads = self.reading(gather, &self.asked_shards(asked)?);
        let all: Vec<ShardId> = reads.iter().map(|(shard, _)| *shard).collect();
        if !self.txn.reads_together(&all) {
            self.take_snapshot(&all).await?;
        }
        let sites = self.site_all(&all, asked.planned).await?;
        self.describe_original(asked, &all, &sites).await?;
        let mut steps = Vec::new();
        for (number, fragment) in gather.fragments.iter().enumerate() {
            let query = rendered(asked, &fragment.query);
            let of = reads.iter().zip(&sites).filter(|((_, parts), _)| parts.contains(&number));
            let (of, at): (Vec<ShardId>, Vec<usize>) =
                of.map(|((shard, _), &at)| (*shard, at)).unzip();
            let text = explaining.explained.foretold(&query);
            let plans = self.plans(asked, &at, text, Tells::Shard, explaining).await?;
            steps.push((query, of, plans));
        }
        let site = Site { at: self.site_gather(asked.planned, &sites).await?, places };
        self.check_encodings(&[sites.as_slice(), &[site.at]].concat())?;
        let (began, mut meter) = (Instant::now(), Meter::new(self.gather_rules()?));
        let rows = match runs {
            true => self.fill(asked, gather, &reads, &sites, &site, &mut meter).await?,
            false => self.define(asked, &gather.fragments, site.at, explaining).await?,
        };
        let moved = began.elapsed();
        self.finish_tables(gather, &rows, site.at);
        let rest = rendered(asked, &gather.residual);
        let text = explaining.explained.about(&rest);
        let finish = self.plans(asked, &[site.at], text, Tells::Gather, explaining).await?;
        self.leave_gather(site.at).await?;

        let mut root = Node::new("Weir Gather");
        root.text("Not Merged", unmerged);
        if runs {
            self.database.counters.gathered(meter.rows, meter.bytes, began.elapsed());
            root.number("Moved Rows", meter.rows);
            root.number("Moved Bytes", meter.bytes);
        }
        if explaining.explained.tells_time() {
            root.time("Moving Time", moved);
            root.time("Time", began.elapsed());
        }
        for ((fragment, (query, of, plans)), rows) in gather.fragments.iter().zip(steps).zip(rows) {
            let mut step = Node::new("Fragment");
            step.text("Table", fragment.table.as_str());
            if runs {
                step.number("Rows", rows);
            }
            self.tell_tasks(&mut step, &query, &of, plans);
            root.step(step);
        }
        let mut step = Node::new("Finish");
        step.text("Server", "gather");
        step.text("Query", rest.trim());
        finish.into_iter().for_each(|plan| step.plan(plan));
        root.step(step);
        Ok(root)
    }

    /// The fragments' tables without rows; how many rows each has.
    async fn define(
        &mut self,
        asked: &Asked<'_>,
        fragments: &[Fragment],
        at: usize,
        explaining: &mut Explaining<'_>,
    ) -> Result<Vec<u64>, Stop> {
        for Fragment { table, query, .. } in fragments {
            let query = rendered(asked, query);
            let text = format!("CREATE TEMP TABLE {table} ON COMMIT DROP AS {query}\nWITH NO DATA");
            self.plans(asked, &[at], text, Tells::Gather, explaining).await?;
        }
        Ok(vec![0; fragments.len()])
    }

    /// What each of these servers answers, all asked at the same time.
    async fn plans(
        &mut self,
        asked: &Asked<'_>,
        sites: &[usize],
        text: String,
        tells: Tells,
        explaining: &mut Explaining<'_>,
    ) -> Result<Vec<Told>, Stop> {
        let wording = Wording::foreign(text, tells);
        let mut fan = self.fan_out("weir_plan", sites, &wording, asked.types);
        let binding = Binding { parameters: asked.parameters, results: &[] };
        fan.open(&mut self.txn.participants, binding);
        self.go(&mut fan).await?;
        let mut plans = vec![Told::new(); sites.len()];
        while let Some(heard) = self.next_row(&mut fan, Which::Any, &wording).await? {
            let Heard::Row { stream, row } = heard else { continue };
            let Some(room) = explaining.room.checked_sub(row.body().len()) else {
                self.stop(&mut fan, &wording).await?;
                let failed = fan.failed();
                self.note_cancelled(&failed);
                return Err(too_long().into());
            };
            explaining.room = room;
            let row = DataRow::read(row.body()).map_err(Error::from)?;
            let line = row.values().next().flatten().unwrap_or_default().to_vec();
            if let Some(plan) = plans.get_mut(stream) {
                plan.push(line);
            }
        }
        self.finish(&mut fan, &wording).await?;
        Ok(plans)
    }

    /// The same asked of several shards, and what each says of it.
    fn tell_tasks(&self, node: &mut Node, query: &str, shards: &[ShardId], plans: Vec<Told>) {
        node.number("Task Count", u64::try_from(shards.len()).unwrap_or(u64::MAX));
        node.text("Tasks Shown", "All");
        node.text("Query", query.trim());
        for (shard, plan) in shards.iter().zip(plans) {
            let mut task = Node::new("Task");
            task.text("Shard", self.serving.rules.shard_name(*shard));
            task.plan(plan);
            node.step(task);
        }
    }
}

fn too_long() -> Error {
    Error::client(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "the servers' plans take more memory than is allowed",
    )
    .hint(
        "raise limits.merge_size in weir.toml, or explain the query on one shard by SET weir.shard",
    )
}

fn rendered(asked: &Asked<'_>, template: &Template) -> String {
    template.rendered(asked.text, &asked.planned.shape, asked.moment).text
}

/// What weir does with the rows.
fn unite(node: &mut Node, merge: &Merge, described: &[u8]) {
    match &merge.rows {
        Rows::All => {}
        Rows::Distinct => node.text("Combine", "distinct rows"),
        Rows::Groups(_) => node.text("Combine", "groups"),
    }
    let names: Vec<String> = RowDescription::read(described).map_or_else(
        |_| Vec::new(),
        |read| read.fields().map(|f| String::from_utf8_lossy(f.name).into_owned()).collect(),
    );
    let keys = merge.order.iter().map(|key| {
        let name = names.get(key.column).map_or("?", String::as_str);
        match key.direction {
            Direction::Ascending => name.to_owned(),
            Direction::Descending => format!("{name} DESC"),
        }
    });
    let keys: Vec<String> = keys.collect();
    if !keys.is_empty() {
        node.text("Sort Key", keys.join(", "));
    }
    for (clause, count) in [("Limit", merge.limit), ("Offset", merge.offset)] {
        match count {
            None => {}
            Some(Count::Number(number)) => node.number(clause, number),
            Some(Count::Param(number)) => node.text(clause, format!("${number}")),
        }
    }
    match merge.ties {
        Ties::Cut => {}
        Ties::Kept => node.text("Ties", "kept"),
    }
}
