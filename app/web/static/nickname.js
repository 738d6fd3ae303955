// Our own nickname: the one we have, the one to claim at the next connect, and the form that changes it.

import { t } from "./i18n.js";
import { recall, remember } from "./storage.js";
import { toast } from "./toast.js";

/**
 * `rename(nickname)` asks the server and gives its acknowledgement; `changed(nickname)` is told what we are
 * called. What we are called follows the log (setCurrent), not the acknowledgement, which may overtake
 * messages that we sent under the old name.
 */
export function createNickname(form, rename, changed) {
  const input = form.querySelector("#nickname-input");
  let current = "";
  let claimed = recall("nickname");
  input.value = claimed;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = input.value.trim();
    if (!wanted || wanted === current) return;
    try {
      const answer = await rename(wanted);
      if (!answer.ok) return toast(answer.error.message);
      claimed = wanted;
      remember("nickname", wanted);
    } catch {
      toast(t("nicknameUnchanged")); // no answer: what was typed stays in the field for another try
    }
  });

  return {
    get current() {
      return current;
    },
    get claimed() {
      return claimed;
    },
    /** The claimed one was refused: connect without any, and leave it in the field for another try. */
    giveUp() {
      claimed = "";
    },
    setCurrent(nickname) {
      const untouched = input.value === current || !input.value;
      if (untouched) input.value = nickname;
      current = nickname;
      claimed = nickname;
      changed(nickname);
    },
  };
}
