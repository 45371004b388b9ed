SET 'parallelism.default' = '1';
SET 'state.backend.type' = 'hashmap';
CREATE TABLE events (id STRING, k STRING, a DOUBLE, b DOUBLE, c DOUBLE, colour STRING, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'kafka', 'topic' = 'upgraded-0.1.0.events', 'properties.bootstrap.servers' = '${brokers}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE labels (id STRING, y BOOLEAN, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'kafka', 'topic' = 'upgraded-0.1.0.labels', 'properties.bootstrap.servers' = '${brokers}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'avro');
CREATE MODEL keyed INPUT (a DOUBLE, b DOUBLE, c DOUBLE) OUTPUT (y BOOLEAN) WITH ('provider' = 'river', 'model' = 'preprocessing.StandardScaler() | linear_model.LogisticRegression()', 'key' = 'k', 'input-table' = 'events', 'event-id' = 'id', 'label-table' = 'labels', 'label' = 'y', 'label-timeout' = '600000 ms', 'snapshot-every' = '1 events', 'metrics-every' = '10 min');
CREATE TABLE `predictions` (
  `model` STRING NOT NULL,
  `model_version` STRING NOT NULL,
  `event_id` STRING,
  `key` STRING NOT NULL,
  `event_time_ms` BIGINT NOT NULL,
  `score` DOUBLE,
  `label` STRING,
  `probabilities` MAP<STRING NOT NULL, DOUBLE NOT NULL>,
  `status` STRING NOT NULL,
  `reason` STRING NOT NULL,
  `learned` BIGINT NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'upgraded-0.1.0.predictions',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'avro',
  'sink.delivery-guarantee' = 'at-least-once'
);
CREATE TABLE `metrics` (
  `model` STRING NOT NULL,
  `model_version` STRING NOT NULL,
  `metric` STRING NOT NULL,
  `window` STRING NOT NULL,
  `value` DOUBLE NOT NULL,
  `count` BIGINT NOT NULL,
  `window_start_ms` BIGINT NOT NULL,
  `event_time_ms` BIGINT NOT NULL,
  `slice` STRING NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'upgraded-0.1.0.metrics',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'avro',
  'sink.delivery-guarantee' = 'at-least-once'
);
CREATE TABLE `snapshots` (
  `snapshot_key` STRING NOT NULL,
  `model` STRING NOT NULL,
  `key` STRING NOT NULL,
  `kind` STRING NOT NULL,
  `spec` STRING NOT NULL,
  `protocol` INT NOT NULL,
  `version` BIGINT NOT NULL,
  `event_time_ms` BIGINT NOT NULL,
  `watermark_ms` BIGINT NOT NULL,
  `source_offsets` STRING NOT NULL,
  `metrics` MAP<STRING NOT NULL, DOUBLE NOT NULL> NOT NULL,
  `chunk` INT NOT NULL,
  `chunks` INT NOT NULL,
  `sha256` STRING NOT NULL,
  `size` BIGINT NOT NULL,
  `writer` STRING NOT NULL,
  `blob` BYTES NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'upgraded-0.1.0.snapshots',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'key.format' = 'raw',
  'key.fields' = 'snapshot_key',
  'value.format' = 'avro',
  'sink.delivery-guarantee' = 'at-least-once'
);
CREATE TABLE `dead_letters` (
  `topic` STRING NOT NULL,
  `partition` INT NOT NULL,
  `offset` BIGINT NOT NULL,
  `record_time_ms` BIGINT NOT NULL,
  `stage` STRING NOT NULL,
  `model` STRING NOT NULL,
  `reason` STRING NOT NULL,
  `key` BYTES,
  `payload` BYTES,
  `headers` MAP<STRING NOT NULL, BYTES>
) WITH (
  'connector' = 'kafka',
  'topic' = 'upgraded-0.1.0.dead_letters',
  'properties.bootstrap.servers' = '${brokers}',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'avro',
  'sink.delivery-guarantee' = 'at-least-once'
);
INSERT INTO predictions SELECT * FROM keyed_predictions;
INSERT INTO metrics SELECT * FROM keyed_metrics;
INSERT INTO snapshots SELECT * FROM keyed_snapshots;
