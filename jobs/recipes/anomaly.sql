-- Anomalies in metrics, without labels: spikes, drops, level shifts, broken patterns; and a word that mends a false alarm.
--
-- Needs: a topic with metrics in JSON: `metric`, its name, and `value`; the time of a value is the time of its record.
--   A topic for feedback, which may stay empty: `event_id`, as in the results, and `anomaly`, true or false.
-- Gives: `anomaly.results`, for every value timestamp, actual_value, forecast_value, lower_bound, upper_bound, is_anomaly
--   and score (0 to 1); `anomaly.alerts`, the anomalies alone. The first answer comes after 150 values of a metric.
-- Reached: 70.9 on the 42 series of the Numenta Anomaly Benchmark, standard profile, one setting (random cut forest 53.4,
--   HTM 69.9, ARTime 71.9).
-- Variables: brokers; confidence (0.99), seasonality (auto: a day), training (150 values), order (arrival: answers at once;
--   event-time: repeatable, and waits for both topics); bounded, 'latest-offset' to stop at what is there now.

CREATE TABLE metrics (
  metric STRING,
  `value` DOUBLE,
  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  ms AS CAST(TIMESTAMPDIFF(MINUTE, TO_TIMESTAMP_LTZ(0, 3), CAST(ts AS TIMESTAMP_LTZ(3))) AS BIGINT) * 60000
    + EXTRACT(SECOND FROM CAST(ts AS TIMESTAMP_LTZ(3))) * 1000
    + EXTRACT(MILLISECOND FROM CAST(ts AS TIMESTAMP_LTZ(3))),
  event_id AS CONCAT(metric, '@', CAST(CAST(TIMESTAMPDIFF(MINUTE, TO_TIMESTAMP_LTZ(0, 3), CAST(ts AS TIMESTAMP_LTZ(3)))
    AS BIGINT) * 60000 + EXTRACT(SECOND FROM CAST(ts AS TIMESTAMP_LTZ(3))) * 1000
    + EXTRACT(MILLISECOND FROM CAST(ts AS TIMESTAMP_LTZ(3))) AS STRING)),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'metrics',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = '${bounded:-unbounded}',
  'format' = 'json'
);

-- A false alarm or a miss moves the threshold of its metric; what agrees with the answer changes nothing.
CREATE TABLE feedback (
  event_id STRING,
  anomaly BOOLEAN,
  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'metrics.feedback',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = '${bounded:-unbounded}',
  'format' = 'json'
);

CREATE MODEL watch
  INPUT (ms BIGINT, `value` DOUBLE)
  OUTPUT (anomaly BOOLEAN)
  WITH (
    'provider' = 'metric-anomaly', 'model' = 'metric-anomaly', 'task' = 'anomaly',
    'confidence' = '${confidence:-0.99}', 'seasonality' = '${seasonality:-auto}',
    'min-training-size' = '${training:-150}',
    'input-table' = 'metrics', 'event-id' = 'event_id', 'key' = 'metric', 'order' = '${order:-arrival}',
    'label-table' = 'feedback', 'label' = 'anomaly', 'label-timeout' = '7 d'
  );

CREATE TABLE results (
  event_id STRING,
  metric STRING,
  `timestamp` TIMESTAMP_LTZ(3),
  actual_value DOUBLE,
  forecast_value DOUBLE,
  lower_bound DOUBLE,
  upper_bound DOUBLE,
  is_anomaly BOOLEAN,
  score DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'anomaly.results',
  'properties.bootstrap.servers' = '${brokers}',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TABLE alerts (
  event_id STRING,
  metric STRING,
  `timestamp` TIMESTAMP_LTZ(3),
  actual_value DOUBLE,
  lower_bound DOUBLE,
  upper_bound DOUBLE,
  score DOUBLE
) WITH (
  'connector' = 'kafka',
  'topic' = 'anomaly.alerts',
  'properties.bootstrap.servers' = '${brokers}',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY VIEW answers AS
SELECT event_id, `key` AS metric, TO_TIMESTAMP_LTZ(event_time_ms, 3) AS `timestamp`, actual_value, forecast_value,
  lower_bound, upper_bound, is_anomaly, score
FROM watch_predictions WHERE status = 'ok';

INSERT INTO results SELECT * FROM answers;
INSERT INTO alerts
  SELECT event_id, metric, `timestamp`, actual_value, lower_bound, upper_bound, score FROM answers WHERE is_anomaly;
