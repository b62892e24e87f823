from .conftest import again

globals().update(again("bulk_exactly_once"))
