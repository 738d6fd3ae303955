"""Parts of the load test in this process, which locust would patch for gevent when it is imported."""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
