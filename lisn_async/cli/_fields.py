"""The fields of an assistant, in the order of the documentation.

Written out here as well, because `lisn --help` answers without the client; a test compares them with the model.
"""

FIELDS = (
    "name",
    "type",
    "description",
    "stt_provider",
    "stt_model",
    "stt_language",
    "llm_provider",
    "llm_model",
    "system_prompt",
    "temperature",
    "webhook_url",
    "webhook_secret",
)
SECRET = "webhook_secret"
NUMBER = "temperature"
