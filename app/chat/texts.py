"""What the server says, in Korean (the tutorial's own words) or English."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Texts:
    """One language, as templates for `str.format`, which does not parse again what people typed."""

    guest: str
    joined: str
    left: str
    renamed: str
    said: str
    whispered: str


TEXTS = {
    "ko": Texts(
        guest="손님-{number}",
        joined="{nickname} 님이 입장하셨습니다.",
        left="{nickname} 님이 나가셨습니다.",
        renamed="{old} 님이 {nickname}으로 대화명을 변경하셨습니다.",
        said="{nickname} : {msg}",
        whispered="귓속말 :{nickname} : {msg}",
    ),
    "en": Texts(
        guest="Guest-{number}",
        joined="{nickname} has joined.",
        left="{nickname} has left.",
        renamed="{old} is now called {nickname}.",
        said="{nickname} : {msg}",
        whispered="Whisper :{nickname} : {msg}",
    ),
}
