-- How much will each product sell next, in an event that has no history: a sale, a launch, a concert on offer?
--
-- Needs: a topic in JSON with a row per product and period, such as a minute, and zero where nothing was sold:
--   `product`, `category` (products that are alike), `sold`; the time of a row is the time of its record.
-- Gives: `sale.forecasts`, for each row what the product sells in the next period: `low`, `middle` and `high`, nine
--   times in ten between low and high; compacted by row.
-- Reached: in the first hour of a made sale with 50 times the demand, wrong by 10.3 pieces per product and minute (the
--   same models, frozen when it began: 25.8; a day before: 43.4; the last minute: 9.8), with 90 % within the
--   interval; taxis in New York per half hour: 811 (a week before: 1,902; the last half hour: 1,272), 90 % within.
-- Variables: brokers; minutes (5): how far back products of a category look at each other; strength (20000): rows of
--   its own until which a product also listens to the model of all; before (47): how many rows before this one the
--   next row was a season ago, 47 where a row is half an hour and a season a day; bounded, 'latest-offset' to stop at
--   what is there now.

-- What is known of a product is forgotten when it has not been heard of for two days.
SET 'table.exec.state.ttl' = '2 d';

CREATE TABLE sales (
  product STRING,
  category STRING,
  sold DOUBLE,
  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  ms AS CAST(TIMESTAMPDIFF(MINUTE, TO_TIMESTAMP_LTZ(0, 3), CAST(ts AS TIMESTAMP_LTZ(3))) AS BIGINT) * 60000
    + EXTRACT(SECOND FROM CAST(ts AS TIMESTAMP_LTZ(3))) * 1000
    + EXTRACT(MILLISECOND FROM CAST(ts AS TIMESTAMP_LTZ(3))),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'sales',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = '${bounded:-unbounded}',
  'format' = 'json',
  -- A view reads this table, so no dead letters: a record that is no JSON is passed over.
  'json.ignore-parse-errors' = 'true'
);

-- Everything is a ratio to what the product has sold of late, so a model learns from products of any size.
CREATE TEMPORARY VIEW levels AS
SELECT *, LN((1 + sold) / (1 + recent)) AS now
FROM (
  SELECT product, COALESCE(category, '') AS category, sold, ms, ts,
    CONCAT(product, '@', CAST(ms AS STRING)) AS row_id, AVG(sold) OVER w AS recent
  FROM sales
  WHERE product IS NOT NULL AND sold >= 0
  WINDOW w AS (PARTITION BY product ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
);

CREATE TEMPORARY VIEW longer_levels AS
SELECT *, LN((1 + twelve) / (1 + recent)) AS longer
FROM (
  SELECT *, AVG(sold) OVER w AS twelve
  FROM levels
  WINDOW w AS (PARTITION BY product ORDER BY ts ROWS BETWEEN 11 PRECEDING AND CURRENT ROW)
);

CREATE TEMPORARY VIEW alike AS
SELECT *, AVG(now) OVER w AS kin
FROM longer_levels
WINDOW w AS (
  PARTITION BY category ORDER BY ts RANGE BETWEEN INTERVAL '${minutes:-5}' MINUTE PRECEDING AND CURRENT ROW
);

-- A row is the label of the row before it: by how much, in the logarithm, sales have grown since.
CREATE TEMPORARY VIEW growths AS
SELECT *, LN((1 + sold) / (1 + recent_before)) AS growth
FROM (
  SELECT *, LAG(row_id) OVER o AS answers, LAG(recent) OVER o AS recent_before
  FROM alike WINDOW o AS (PARTITION BY product ORDER BY ts)
);

CREATE TEMPORARY VIEW outcomes AS SELECT answers AS row_id, growth, ts FROM growths WHERE answers IS NOT NULL;

CREATE TEMPORARY VIEW steps AS
SELECT row_id, product, category, ms, sold, recent, now, longer, kin, COALESCE(season, 0.0E0) AS seasonal, ts
FROM (
  SELECT *, LAG(growth, ${before:-47}) OVER o AS season
  FROM growths WINDOW o AS (PARTITION BY product ORDER BY ts)
);

CREATE MODEL low
  INPUT (now DOUBLE, longer DOUBLE, kin DOUBLE, seasonal DOUBLE, category STRING)
  OUTPUT (growth DOUBLE)
  WITH (
    'provider' = 'river',
    'model' = 'compose.Select(''now'', ''longer'', ''kin'', ''seasonal'')
      + (compose.Select(''category'') | preprocessing.OneHotEncoder(drop_zeros=True))
      | linear_model.LinearRegression(optim.SGD(0.02), loss=optim.losses.Quantile(0.05), intercept_lr=0.02)',
    'input-table' = 'steps', 'event-id' = 'row_id', 'key' = 'product',
    'label-table' = 'outcomes', 'label' = 'growth',
    -- A product that is new begins with what all products have taught, and those of its category above all.
    'prior' = 'global', 'prior-strength' = '${strength:-20000}', 'shards' = '1'
  );

CREATE MODEL middle
  INPUT (now DOUBLE, longer DOUBLE, kin DOUBLE, seasonal DOUBLE, category STRING)
  OUTPUT (growth DOUBLE)
  WITH (
    'provider' = 'river',
    'model' = 'compose.Select(''now'', ''longer'', ''kin'', ''seasonal'')
      + (compose.Select(''category'') | preprocessing.OneHotEncoder(drop_zeros=True))
      | linear_model.LinearRegression(optim.RMSProp(0.02, 0.99), loss=optim.losses.Huber(0.2), intercept_lr=0.02)',
    'input-table' = 'steps', 'event-id' = 'row_id', 'key' = 'product',
    'label-table' = 'outcomes', 'label' = 'growth',
    -- A product that is new begins with what all products have taught, and those of its category above all.
    'prior' = 'global', 'prior-strength' = '${strength:-20000}', 'shards' = '1'
  );

CREATE MODEL high
  INPUT (now DOUBLE, longer DOUBLE, kin DOUBLE, seasonal DOUBLE, category STRING)
  OUTPUT (growth DOUBLE)
  WITH (
    'provider' = 'river',
    'model' = 'compose.Select(''now'', ''longer'', ''kin'', ''seasonal'')
      + (compose.Select(''category'') | preprocessing.OneHotEncoder(drop_zeros=True))
      | linear_model.LinearRegression(optim.SGD(0.02), loss=optim.losses.Quantile(0.95), intercept_lr=0.02)',
    'input-table' = 'steps', 'event-id' = 'row_id', 'key' = 'product',
    'label-table' = 'outcomes', 'label' = 'growth',
    -- A product that is new begins with what all products have taught, and those of its category above all.
    'prior' = 'global', 'prior-strength' = '${strength:-20000}', 'shards' = '1'
  );

CREATE TABLE forecasts (
  row_id STRING,
  product STRING,
  event_time_ms BIGINT,
  sold DOUBLE,
  low DOUBLE,
  middle DOUBLE,
  high DOUBLE,
  PRIMARY KEY (row_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'sale.forecasts',
  'properties.bootstrap.servers' = '${brokers}',
  'key.format' = 'json',
  'value.format' = 'json'
);

-- The three answers to a row, and the row, as one. Quantiles that are learned apart may cross: the middle one holds.
CREATE TEMPORARY VIEW answers AS
SELECT event_id AS row_id, score AS low, CAST(NULL AS DOUBLE) AS middle, CAST(NULL AS DOUBLE) AS high,
  CAST(NULL AS STRING) AS product, CAST(NULL AS BIGINT) AS ms, CAST(NULL AS DOUBLE) AS sold,
  CAST(NULL AS DOUBLE) AS recent
FROM low_predictions WHERE status = 'ok'
UNION ALL
SELECT event_id, CAST(NULL AS DOUBLE), score, CAST(NULL AS DOUBLE), CAST(NULL AS STRING), CAST(NULL AS BIGINT),
  CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE)
FROM middle_predictions WHERE status = 'ok'
UNION ALL
SELECT event_id, CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), score, CAST(NULL AS STRING), CAST(NULL AS BIGINT),
  CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE)
FROM high_predictions WHERE status = 'ok'
UNION ALL
SELECT row_id, CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), product, ms, sold, recent
FROM steps;

INSERT INTO forecasts
SELECT row_id, product, ms, sold, GREATEST(EXP(LEAST(low, middle)) * (1 + recent) - 1, 0.0E0),
  GREATEST(EXP(middle) * (1 + recent) - 1, 0.0E0), GREATEST(EXP(GREATEST(middle, high)) * (1 + recent) - 1, 0.0E0)
FROM (
  SELECT row_id, MAX(product) AS product, MAX(ms) AS ms, MAX(sold) AS sold, MAX(recent) AS recent, MAX(low) AS low,
    MAX(middle) AS middle, MAX(high) AS high
  FROM answers GROUP BY row_id
)
WHERE low IS NOT NULL AND middle IS NOT NULL AND high IS NOT NULL AND recent IS NOT NULL;
