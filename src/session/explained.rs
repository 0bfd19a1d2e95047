//! EXPLAIN of queries whose rows are on several shards: weir's own plan, and inside it what each server
//! says of its part. With ANALYZE every part is run once, and nothing is sent to the client but the plan.
use super::gather::Site;
use super::portal::has_parameters;
use super::several::{Asked, columns, formats};
use super::together::{Tells, Wording};
use super::{Session, Stop};
use crate::error::Error;
use crate::exec::fan_out::{Binding, Heard, NO_PARAMETERS, Which};
use crate::exec::gather::Meter;
use crate::ids::ShardId;
use crate::plan::several::{Count, Direction, Fragment, Gather, Merge, Rows, Several, Ties};
use crate::plan::{Command, Planned, Route};
use crate::sql::explained::{self, Explained};
use crate::wire::encode;
use crate::wire::params::Params;
use crate::wire::server::{DataRow, Field, RowDescription};
use std::time::{Duration, Instant};

/// What one server says, line by line, in the client's encoding.
type Told = Vec<Vec<u8>>;

/// The answer as far as it is known.
#[derive(Default)]
struct Page {
    lines: Told,
}

impl Page {
    fn line(&mut self, depth: usize, text: impl AsRef<[u8]>) {
        let mut line = vec![b' '; 2 * depth];
        line.extend(text.as_ref());
        self.lines.push(line);
    }

    fn plan(&mut self, depth: usize, told: &Told) {
        told.iter().for_each(|line| self.line(depth, line));
    }
}

impl Session {
    /// An EXPLAIN that weir has to answer itself. `None`: it goes the way of other statements.
    pub(super) fn explains_several(&self, statement: &str) -> Option<(Explained, Planned)> {
        let explained = explained::read(statement, self.standard_conforming_strings())?;
        let planned = self.database.planner.borrow_mut().plan(&explained.query, &self.context());
        let planned = planned.ok().filter(|planned| planned.plan.command == Command::Query)?;
        let route = planned.route(&explained.query, &Params::default(), &self.serving.rules);
        let parameters = has_parameters(&planned.shape.text);
        (matches!(route, Ok(Route::Many)) && !parameters).then_some((explained, planned))
    }

    pub(super) async fn explain_several(
        &mut self,
        explained: &Explained,
        planned: &Planned,
    ) -> Result<(), Stop> {
        self.begin_budget(planned);
        self.refuse_if_failed(None)?;
        self.check_asked(planned)?;
        if !explained.is_text() || explained.is_generic() {
            return Err(Error::refused(
                "the plan of a query over several shards is told as text, for what its shards are sent",
                "leave FORMAT and GENERIC_PLAN out",
            )
            .into());
        }
        self.foresee(self.shape_of(planned, Route::Many))?;
        let asked = Asked {
            text: &explained.query,
            planned,
            types: &[],
            values: &[],
            parameters: NO_PARAMETERS,
            results: &[],
            batch: 0,
            name: "weir_all",
            shift: self.edit.as_ref().map_or(0, |edit| edit.shift),
            moment: None,
        };
        let page = self.explain_strategy(&asked, explained).await?;
        let output = &mut self.client.output;
        encode::row_description(&[Field::text("QUERY PLAN")], output);
        for line in &page.lines {
            encode::data_row(&[Some(line)], output);
        }
        self.complete("EXPLAIN")
    }

    /// The same choice as if the query were run.
    async fn explain_strategy(
        &mut self,
        asked: &Asked<'_>,
        explained: &Explained,
    ) -> Result<Page, Stop> {
        let plan = asked.planned.plan.clone();
        let Some(Several { merge, gather, tells_time }) = plan.several.as_deref() else {
            return Err(Error::internal("a query of several shards without a strategy").into());
        };
        let moment = if *tells_time { Some(self.moment(asked).await?) } else { None };
        let asked = &Asked { moment: moment.as_ref(), ..*asked };
        if let Some(merge) = merge
            && let Some(page) = self.explain_merge(asked, merge, explained).await?
        {
            return Ok(page);
        }
        let gather = self.gatherable(gather)?;
        let outcome = self.explain_gather(asked, gather, explained).await;
        if let Err(Stop::Say(_) | Stop::Said) = &outcome {
            self.release_gather().await?;
        }
        outcome
    }

    /// `None`: weir cannot compare or combine these types exactly.
    async fn explain_merge(
        &mut self,
        asked: &Asked<'_>,
        merge: &Merge,
        explained: &Explained,
    ) -> Result<Option<Page>, Stop> {
        let bounds = self.bounds(asked, merge)?;
        let params = Params { types: asked.types, values: asked.values };
        let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
        let sites = self.site_all(&shards, asked.planned).await?;
        let wording = Wording::new(&merge.query, asked);
        let mut fan = self.fan_out(asked.name, &sites, &wording, asked.types);
        fan.close(&mut self.txn.participants);
        self.go(&mut fan).await?;
        self.finish(&mut fan, &wording).await?;
        let described = fan.description(0).cloned().unwrap_or_default();
        let types = columns(&described, &formats(&[], &described, merge.hidden)?);
        if self.merger(merge, &types, &sites, bounds).await?.is_none() {
            return Ok(None);
        }
        let began = Instant::now();
        let query = &wording.sent.text;
        let plans = self.plans(&sites, explained.about(query), Tells::Shard).await?;
        let mut page = Page::default();
        let [shards_told, how] = [counted(sites.len(), "shard"), united(merge, &described)];
        page.line(0, format!("Merge of {shards_told}{how}"));
        self.tell_query(&mut page, 1, query);
        self.tell_plans(&mut page, 1, &shards, &plans);
        if explained.tells_time() {
            page.line(1, format!("Shards' Time: {} ms", milliseconds(began.elapsed())));
        }
        Ok(Some(page))
    }

    async fn explain_gather(
        &mut self,
        asked: &Asked<'_>,
        gather: &Gather,
        explained: &Explained,
    ) -> Result<Page, Stop> {
        self.limit_time();
        let places = self.place(asked.planned).await?;
        let params = Params { types: asked.types, values: asked.values };
        let shards = asked.planned.shards(asked.text, &params, &self.serving.rules)?;
        let reads = self.reading(gather, &shards);
        let all: Vec<ShardId> = reads.iter().map(|(shard, _)| *shard).collect();
        let sites = self.site_all(&all, asked.planned).await?;
        self.describe_original(asked, &all, &sites).await?;
        let mut parts = Vec::new();
        for (number, fragment) in gather.fragments.iter().enumerate() {
            let query = rendered(asked, &fragment.query);
            let of = reads.iter().zip(&sites).filter(|((_, parts), _)| parts.contains(&number));
            let (of, at): (Vec<ShardId>, Vec<usize>) =
                of.map(|((shard, _), &at)| (*shard, at)).unzip();
            let plans = self.plans(&at, explained.foretold(&query), Tells::Shard).await?;
            parts.push((query, of, plans));
        }
        let site = Site { at: self.site_gather(asked.planned).await?, places };
        let (began, mut meter) = (Instant::now(), Meter::new(self.gather_rules()?));
        let rows = match explained.runs() {
            true => self.fill(asked, gather, &reads, &sites, &site, &mut meter).await?,
            false => self.define(asked, &gather.fragments, site.at).await?,
        };
        let moved = began.elapsed();
        self.finish_tables(gather, &rows, site.at);
        let rest = rendered(asked, &gather.residual);
        let finish = self.plans(&[site.at], explained.about(&rest), Tells::Gather).await?;
        self.leave_gather(site.at).await?;
        if explained.runs() {
            self.database.counters.gathered(meter.rows, meter.bytes, began.elapsed());
        }

        let mut page = Page::default();
        let [fragments, from] =
            [counted(gather.fragments.len(), "fragment"), counted(all.len(), "shard")];
        page.line(0, format!("Gather: {fragments} from {from}"));
        for ((fragment, (query, of, plans)), rows) in gather.fragments.iter().zip(parts).zip(rows) {
            let rows =
                if explained.runs() { format!(" (actual rows={rows})") } else { String::new() };
            page.line(1, format!("Fragment {}{rows}", fragment.table));
            self.tell_query(&mut page, 2, &query);
            self.tell_plans(&mut page, 2, &of, &plans);
        }
        page.line(1, "Finish in the gather database");
        self.tell_query(&mut page, 2, &rest);
        finish.iter().for_each(|plan| page.plan(2, plan));
        if explained.runs() {
            page.line(1, format!("Moved: {} rows, {} bytes", meter.rows, meter.bytes));
        }
        if explained.tells_time() {
            page.line(1, format!("Moving Time: {} ms", milliseconds(moved)));
        }
        Ok(page)
    }

    /// The fragments' tables without rows; how many rows each has.
    async fn define(
        &mut self,
        asked: &Asked<'_>,
        fragments: &[Fragment],
        at: usize,
    ) -> Result<Vec<u64>, Stop> {
        for Fragment { table, query, .. } in fragments {
            let query = rendered(asked, query);
            let text = format!("CREATE TEMP TABLE {table} ON COMMIT DROP AS {query}\nWITH NO DATA");
            self.plans(&[at], text, Tells::Gather).await?;
        }
        Ok(vec![0; fragments.len()])
    }

    /// What each of these servers answers, all asked at the same time.
    async fn plans(
        &mut self,
        sites: &[usize],
        text: String,
        tells: Tells,
    ) -> Result<Vec<Told>, Stop> {
        let wording = Wording::foreign(text, tells);
        let mut fan = self.fan_out("weir_plan", sites, &wording, &[]);
        let binding = Binding { parameters: NO_PARAMETERS, results: &[] };
        fan.open(&mut self.txn.participants, binding);
        self.go(&mut fan).await?;
        let mut plans = vec![Told::new(); sites.len()];
        while let Some(heard) = self.next_row(&mut fan, Which::Any, &wording).await? {
            let Heard::Row { stream, row } = heard else { continue };
            let row = DataRow::read(row.body()).map_err(Error::from)?;
            let line = row.values().next().flatten().unwrap_or_default().to_vec();
            if let Some(plan) = plans.get_mut(stream) {
                plan.push(line);
            }
        }
        self.finish(&mut fan, &wording).await?;
        Ok(plans)
    }

    fn tell_query(&self, page: &mut Page, depth: usize, query: &str) {
        for (number, line) in query.trim().lines().enumerate() {
            let before = if number == 0 { "Query: " } else { "       " };
            page.line(depth, self.encoding().bytes(&format!("{before}{line}")));
        }
    }

    fn tell_plans(&self, page: &mut Page, depth: usize, shards: &[ShardId], plans: &[Told]) {
        for (shard, plan) in shards.iter().zip(plans) {
            page.line(depth, format!("Shard {}", self.serving.rules.shard_name(*shard)));
            page.plan(depth + 1, plan);
        }
    }
}

/// Parse has no answer to give.
pub(super) fn not_extended() -> Error {
    Error::refused(
        "EXPLAIN of a query over several shards in the extended protocol is not supported",
        "send it as a simple query, as psql does",
    )
}

fn rendered(asked: &Asked<'_>, template: &crate::plan::several::Template) -> String {
    template.rendered(asked.text, &asked.planned.shape, asked.moment).text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

/// What weir does with the rows, in brackets.
fn united(merge: &Merge, described: &[u8]) -> String {
    let mut said = Vec::new();
    match &merge.rows {
        Rows::All => {}
        Rows::Distinct => said.push(String::from("distinct")),
        Rows::Groups(_) => said.push(String::from("combine groups")),
    }
    let names: Vec<String> = RowDescription::read(described).map_or_else(
        |_| Vec::new(),
        |read| read.fields().map(|f| String::from_utf8_lossy(f.name).into_owned()).collect(),
    );
    let keys = merge.order.iter().map(|key| {
        let name = names.get(key.column).map_or("?", String::as_str);
        match key.direction {
            Direction::Ascending => name.to_owned(),
            Direction::Descending => format!("{name} desc"),
        }
    });
    let keys: Vec<String> = keys.collect();
    if !keys.is_empty() {
        said.push(format!("order by {}", keys.join(", ")));
    }
    for (clause, count) in [("limit", merge.limit), ("offset", merge.offset)] {
        match count {
            None => {}
            Some(Count::Number(number)) => said.push(format!("{clause} {number}")),
            Some(Count::Param(number)) => said.push(format!("{clause} ${number}")),
        }
    }
    match merge.ties {
        Ties::Cut => {}
        Ties::Kept => said.push(String::from("with ties")),
    }
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}
