"""The search index on Elasticsearch or OpenSearch, by plain JSON over REST. Imported only when ES_URL_ADD is set."""
