-- For wrk: requests are POSTs without a body.
wrk.method = "POST"
