"""The wire: commands of Kubo's RPC as HTTP requests, with deadlines and streamed bodies."""
