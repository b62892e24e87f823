from .conftest import again

globals().update(again("token_source"))
