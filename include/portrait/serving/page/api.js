// Questions to the API this page was served by. The key lives as long as the tab.
const ROOT = new URL("..", document.baseURI);

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem("portrait.key"),
  set: (value) => sessionStorage.setItem("portrait.key", value),
  forget: () => sessionStorage.removeItem("portrait.key"),
};

export async function ask(path) {
  const answer = await fetch(new URL(path, ROOT), { headers: { "X-API-Key": key.get() ?? "" }, cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.detail);
  return body;
}

// One part of a page that its key may not see must not take the others away.
export async function perhaps(path) {
  try {
    return await ask(path);
  } catch (error) {
    if (error instanceof Refused && error.status !== 401) return error;
    throw error;
  }
}
