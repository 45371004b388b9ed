-- Batch beside real time: every customer is scored each night, the active ones at each event; whoever asks gets the fresher.
--
-- Needs: topics in JSON with the same columns: `everyone`, a row per customer and night, and `activity`, a row per event:
--   `row_id`, `customer`, `visits`, `spend`, `days_away`. A topic `outcomes`: `row_id` and `bought`, when it is known.
-- Gives: `scores.batch` and `scores.streaming`, the scores of either run; `serving`, compacted by customer: the newest
--   score, when it was made and by which run.
-- Reached: the same answer to the same row in both runs, bit for bit; see `python -m tests.bench hybrid` for the cost.
-- Variables: brokers; mode (streaming; batch for the nightly run), input (activity; everyone for the nightly run);
--   bounded, 'latest-offset' to stop at what is there now, as the nightly run must.
-- Runs: nightly: mode=batch input=everyone bounded=latest-offset; live: mode=streaming input=activity

SET 'execution.runtime-mode' = '${mode:-streaming}';

CREATE TABLE customers (
  row_id STRING,
  customer STRING,
  visits DOUBLE,
  spend DOUBLE,
  days_away DOUBLE,
  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '${input:-activity}',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = '${bounded:-unbounded}',
  'format' = 'json'
);

CREATE TABLE outcomes (
  row_id STRING,
  bought BOOLEAN,
  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'outcomes',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = '${bounded:-unbounded}',
  'format' = 'json'
);

CREATE MODEL buys
  INPUT (visits DOUBLE, spend DOUBLE, days_away DOUBLE)
  OUTPUT (bought BOOLEAN)
  WITH (
    'provider' = 'river',
    'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.05))',
    'input-table' = 'customers', 'event-id' = 'row_id',
    'label-table' = 'outcomes', 'label' = 'bought', 'label-timeout' = '7 d'
  );

CREATE TABLE scored (
  row_id STRING,
  score DOUBLE,
  status STRING,
  learned BIGINT,
  event_time_ms BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'scores.${mode:-streaming}',
  'properties.bootstrap.servers' = '${brokers}',
  'format' = 'json'
);

CREATE TABLE nightly (
  row_id STRING,
  score DOUBLE,
  status STRING,
  learned BIGINT,
  event_time_ms BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'scores.batch',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = '${bounded:-unbounded}',
  'format' = 'json'
);

CREATE TABLE serving (
  customer STRING,
  score DOUBLE,
  event_time_ms BIGINT,
  made_by STRING,
  PRIMARY KEY (customer) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'serving',
  'properties.bootstrap.servers' = '${brokers}',
  'key.format' = 'json',
  'value.format' = 'json'
);

-- A row is named <customer>/<anything>: so its score names the customer, too.
CREATE TEMPORARY VIEW fresher AS
SELECT customer, score, event_time_ms, made_by
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY event_time_ms DESC, made_by DESC) AS place
  FROM (
    SELECT SPLIT_INDEX(row_id, '/', 0) AS customer, score, event_time_ms, 'nightly' AS made_by
    FROM nightly WHERE status = 'ok'
    UNION ALL
    SELECT SPLIT_INDEX(event_id, '/', 0), score, event_time_ms, 'real time'
    FROM buys_predictions WHERE status = 'ok'
  )
) WHERE place = 1;

INSERT INTO scored SELECT event_id, score, status, learned, event_time_ms FROM buys_predictions;
-- The run that goes on serves; what the nightly one writes reaches it through `scores.batch`.
INSERT INTO serving SELECT * FROM fresher WHERE '${mode:-streaming}' = 'streaming';
